/** The form of a text edit. */

/** A list in which a positive number keeps so many code points, a negative one removes so many, and a string is inserted. */
export type TextOps = readonly (number | string)[];
