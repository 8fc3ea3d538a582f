/** What all answers have: they are for this browser and this moment alone, and take no `Referer` along, which may have a code. */
export const answerHeaders = {
  "cache-control": "no-store",
  "referrer-policy": "no-referrer",
  "x-content-type-options": "nosniff",
};
