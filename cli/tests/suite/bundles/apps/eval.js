// Evaluates what a request says. What a handle of module top level does is seen through `top`.
const top = ccf.kv['records'];
const bytes = (text) => ccf.strToBuf(String(text));

const isBuffer = (value) => value instanceof ArrayBuffer;

function shown(value) {
  if (value === undefined) return 'undefined';
  if (isBuffer(value)) return `bytes ${JSON.stringify(ccf.bufToStr(value))}`;
  if (Array.isArray(value)) return `[${value.map(shown).join(', ')}]`;
  if (value !== null && typeof value === 'object' && '_map_name' in value) return `map ${value._map_name}`;
  return JSON.stringify(value);
}

export function run(request) {
  const value = new Function('request', 'top', 'bytes', `return (${request.body.text()})`)(request, top, bytes);
  return { body: shown(value) };
}
