// The rows of a vat's own store, which outlive its heap.
//
// - A row that changes again and again (a count, the state of an object) is a cell: it is written when the turn is over. What
//   reads a row sees the cell.
// - A vat that has nothing to keep asks for no row.
(function (native, runtime) {
  'use strict';
  const { host } = native;
  const { queueMicrotask } = runtime;
  const { Error, Map } = globalThis;
  const { isArray } = Array;

  const OP_GET = 75, OP_SET = 76, OP_DELETE = 77, OP_NEXT = 78;
  const MAX_CELLS = 1000;

  const GONE = { text: () => undefined };
  const cells = new Map(); // key -> text, or what has its text in the end
  let isDue = false;

  function answered(answer) {
    if (isArray(answer)) throw new Error(answer[1]);
    return answer;
  }

  const textOf = (cell) => (typeof cell === 'string' ? cell : cell.text());

  function get(key) {
    if (cells.size > 0) {
      const cell = cells.get(key);
      if (cell !== undefined) return textOf(cell);
    }
    return answered(host(OP_GET, key));
  }

  function set(key, text) {
    if (cells.size > 0) cells.delete(key);
    answered(host(OP_SET, key, text));
  }

  function remove(key) {
    if (cells.size > 0) cells.delete(key);
    answered(host(OP_DELETE, key));
  }

  // `cell` is the text, or has it when the turn is over: undefined if the row is to go.
  function later(key, cell) {
    cells.set(key, cell);
    if (isDue) return;
    isDue = true;
    queueMicrotask(atEndOfTurn);
  }

  function atEndOfTurn() {
    isDue = false;
    try {
      flush();
    } catch {
      // The kernel has refused: it ends the vat.
    }
  }

  // Others may be added meanwhile, or taken away.
  function flush() {
    for (const [key, cell] of cells) {
      cells.delete(key);
      const text = textOf(cell);
      answered(text === undefined ? host(OP_DELETE, key) : host(OP_SET, key, text));
    }
  }

  function change(key, cell) {
    if (cells.size >= MAX_CELLS) flush();
    later(key, cell);
  }

  // The next key in the order of their bytes.
  function next(prior) {
    if (cells.size > 0) flush();
    return answered(host(OP_NEXT, prior));
  }

  // The next key that begins so.
  function nextUnder(prefix, prior = prefix) {
    const key = next(prior);
    return key !== undefined && key.startsWith(prefix) ? key : undefined;
  }

  runtime.vatstore = {
    get, set, remove, next, nextUnder, flush,
    change,
    discard: (key) => change(key, GONE),
    pending: (key) => cells.get(key),
  };
})
