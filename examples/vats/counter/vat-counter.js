import { Far } from '@endo/far';

export const buildRootObject = () => {
  let count = 0;
  const last = new Map(); // who has signed -> what he has counted to
  return Far('counter', {
    // The caller comes first: `{ id }`, the key that has signed the call, or null.
    increment(caller, by = 1) {
      if (!Number.isSafeInteger(by)) throw TypeError('increment(by) takes a whole number');
      count += by;
      if (caller.id) last.set(caller.id, count);
      return count;
    },
    read: _caller => ({ count, counters: last.size }),
  });
};
