// Ordering the rows of a table by one of its columns.
import { useState } from "./html.js";

/** Return `{key, isAscending, onSort}`: largest numbers and first words first, and on the same column again the other way. */
export function useSort(first) {
  const [order, setOrder] = useState({ key: first, isAscending: false });
  const onSort = (key, { isNumber }) => setOrder((old) => ({ key, isAscending: old.key === key ? !old.isAscending : !isNumber }));
  return { ...order, onSort };
}

/** Return rows in an order; what is not known comes last. */
export function sortRows(rows, { key, isAscending }) {
  const sign = isAscending ? 1 : -1;
  return [...rows].sort((one, other) => {
    const [a, b] = [one[key], other[key]];
    if (a === b) return 0;
    if (a === null || a === undefined) return 1;
    if (b === null || b === undefined) return -1;
    return (a < b ? -1 : 1) * sign;
  });
}
