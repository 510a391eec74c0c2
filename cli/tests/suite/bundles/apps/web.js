// What a request looks like from inside, and answers of every kind.
export function echo(request) {
  const { method, path, route, url, query, params, hostname, headers, caller, body } = request;
  const { 'x-probe': probe, 'content-type': type } = headers;
  return { body: { method, path, route, url, query, params, hostname, probe, type, caller, body: body.text() } };
}

export function names(request) {
  return { body: Object.getOwnPropertyNames(request).sort() };
}

export function where(request) {
  return { body: `${request.route} ${JSON.stringify(request.params)}` };
}

// Returns what the body says.
export function reply(request) {
  const put = (value) => ccf.kv['kept'].set(ccf.strToBuf('key'), ccf.strToBuf(value));
  return new Function('request', 'put', `return ${request.body.text()}`)(request, put);
}

export function kept() {
  const value = ccf.kv['kept'].get(ccf.strToBuf('key'));
  return { body: value === undefined ? 'nothing' : ccf.bufToStr(value) };
}

export const value = 17;
