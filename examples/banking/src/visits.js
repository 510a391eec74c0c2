// The smallest thing that one can measure: a counter in a table.
const visits = ccf.kv['visits'];
const key = ccf.strToBuf('count');

const present = () => {
  const found = visits.get(key);
  return found === undefined ? 0 : ccf.bufToJsonCompatible(found);
};

export function count() {
  const now = present() + 1;
  visits.set(key, ccf.jsonCompatibleToBuf(now));
  return { body: { visits: now } };
}

export function read() {
  return { body: { visits: present() } };
}
