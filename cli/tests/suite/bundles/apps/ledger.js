// What clients send, written down, so that what is lost or twice can be seen.
const bytes = (text) => ccf.strToBuf(String(text));
const total = ccf.kv['total'];
const entries = ccf.kv['entries'];
let calls = 0;

export function add(request) {
  const { client, n } = request.body.json();
  const before = total.get(bytes('total'));
  const now = (before === undefined ? 0 : ccf.bufToJsonCompatible(before)) + 1;
  total.set(bytes('total'), ccf.jsonCompatibleToBuf(now));
  entries.set(bytes(String(now).padStart(9, '0')), ccf.jsonCompatibleToBuf([client, n]));
  ccf.kv['public:last'].set(bytes(client), bytes(n));
  if (n % 10 === 9) throw new RangeError(`every tenth: ${n}`);
  calls++;
  return { body: { total: now } };
}

export function all() {
  const found = total.get(bytes('total'));
  const rows = [];
  entries.forEach((value) => rows.push(ccf.bufToJsonCompatible(value)));
  return { body: { total: found === undefined ? 0 : ccf.bufToJsonCompatible(found), entries: rows } };
}
