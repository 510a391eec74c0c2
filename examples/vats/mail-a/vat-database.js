// Rows that can be selected and modified, and a journal of what was done, in its order.
import { Far } from '@endo/far';

export const buildRootObject = () => {
  const values = new Map();
  const journal = [];
  const database = Far('open database', {
    select: name =>
      Far(`row ${name}`, {
        modify(value) {
          journal.push(`${name} = ${value}`);
          const before = values.get(name);
          values.set(name, value);
          return harden({ name, before, value });
        },
      }),
  });
  return Far('database', {
    open: () => database,
    journal: () => harden([...journal]),
  });
};
