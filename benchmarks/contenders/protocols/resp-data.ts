/** The requests of a pipeline, the items of the list, and the value of every key. */
export const PIPELINE = 1000;
export const ITEMS = 10_000;
export const VALUE = 'a value of 24 characters';
