// Who calls, as an app sees it. A signed payload is shown as text.
export function who(request) {
  const show = (key, value) => (value instanceof ArrayBuffer ? ccf.bufToStr(value) : value);
  return { body: JSON.stringify(request.caller, show), headers: { 'content-type': 'application/json' } };
}
