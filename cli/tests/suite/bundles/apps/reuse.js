// Remembers what it should not rely on.
let calls = 0;
const handle = ccf.kv['touched'];
const bytes = (text) => ccf.strToBuf(String(text));

export function touch() {
  calls++;
  handle.set(bytes('calls'), bytes(calls));
  return { body: String(calls) };
}

export function touched() {
  calls++;
  const found = handle.get(bytes('calls'));
  return { body: { calls, table: found === undefined ? null : ccf.bufToStr(found) } };
}

export function fail() {
  calls += 100;
  throw new Error(`after ${calls}`);
}

// What a request leaves behind runs in the next one.
let resume;
export async function park() {
  const parked = new Promise((resolve) => { resume = resolve; });
  parked.then((value) => { calls += value; });
  return { body: 'parked' };
}

export function unpark() {
  resume(10);
  return { body: String(calls) };
}

export function clock(request) {
  const set = request.body.text();
  if (set !== '') ccf.enableUntrustedDateTime(set === 'on');
  return { body: Date.now() === 0 ? 'stands' : 'goes' };
}

// What is set for one request, and what stays.
export function set() {
  ccf.rpc.setApplyWrites(false);
  ccf.rpc.setClaimsDigest(new ArrayBuffer(32));
  globalThis.ccf.mine = (globalThis.ccf.mine || 0) + 1;
  return { body: String(globalThis.ccf.mine) };
}

export function roll() {
  globalThis.rolled = (globalThis.rolled || 0) + Math.floor(Math.random() * 1e6);
  handle.set(bytes('rolled'), bytes(globalThis.rolled));
  return { body: String(globalThis.rolled) };
}
