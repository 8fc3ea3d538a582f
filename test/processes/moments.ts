/** When it may block: at its note that it sends the refresh token, when it sends it, at the answer's head and body, when it stores the answer. */
export const moments = ["lock", "note", "noted", "send", "sent", "answered", "read", "store", "stored"] as const;
export type Moment = (typeof moments)[number];
