/** The text of the record with this number: one that is torn has another. */
export const textOf = (n: number): string => `${n}.`.repeat(10_000);
