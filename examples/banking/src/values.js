// Tables hold bytes; these say which.
export const text = { of: (value) => ccf.strToBuf(String(value)), from: (bytes) => ccf.bufToStr(bytes) };
export const json = { of: (value) => ccf.jsonCompatibleToBuf(value), from: (bytes) => ccf.bufToJsonCompatible(bytes) };
export const number = json;
