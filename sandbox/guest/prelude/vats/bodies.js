// Bodies of messages for liveslots: both forms are read, the vat's own is written.
//
// - Most messages are a few numbers, texts and booleans: these are read and written here, without a decoder or an encoder.
// - What is read is hardened, but for arrays of arguments, which are nobody else's.
(function (native, runtime) {
  'use strict';
  const { decoders, makeMarshal, makeMarshal2019 } = runtime;
  const { quotedName } = runtime.encoders;
  const { parse, stringify } = JSON;

  const BANG = 33, HASH = 35, DOLLAR = 36, AMPERSAND = 38, DASH = 45;
  const NONE = [];
  const UNDEFINED_2019 = '{"@qclass":"undefined"}';
  const UNDEFINED = '"#undefined"';
  const FIRST_ERROR = 70_000;

  let is2019 = false;
  let valueOf, marshal;

  function become(dialect, vatID, toVref, toValue) {
    is2019 = dialect === '2019';
    valueOf = toValue;
    marshal = is2019 ? makeMarshal2019(toVref, toValue)
      : makeMarshal(toVref, toValue, { serializeBodyFormat: 'smallcaps', marshalName: `liveSlots:${vatID}`, errorIdNum: FIRST_ERROR });
  }

  // ---- reading ----

  // In a vat of 2019 a presence has not the style of a remotable. That the slot has the right type is the kernel's affair.
  class Smallcaps extends decoders.Smallcaps {
    special(encoding, code) {
      return code === DOLLAR || code === AMPERSAND ? this.slot(encoding) : super.special(encoding, code);
    }
  }

  function decoder(isSmallcaps, slots) {
    const list = slots === '' ? NONE : slots.split(',');
    return isSmallcaps ? new Smallcaps(list, valueOf) : new decoders.CapData(list, valueOf, is2019, 'forbidCycles');
  }

  // Whether what JSON has for a value is the value.
  function isPlain(value, isSmallcaps) {
    switch (typeof value) {
      case 'number':
      case 'boolean': return true;
      case 'string': {
        if (!isSmallcaps) return true;
        const code = value.charCodeAt(0);
        return !(code >= BANG && code <= DASH);
      }
      default: return value === null;
    }
  }

  function elements(tree, isSmallcaps, slots) {
    for (let i = 0; i < tree.length; i++) {
      if (!isPlain(tree[i], isSmallcaps)) return decoder(isSmallcaps, slots).elements(tree);
    }
    return tree;
  }

  function read(body, slots) {
    const isSmallcaps = body.charCodeAt(0) === HASH;
    const tree = parse(isSmallcaps ? body.slice(1) : body);
    return isPlain(tree, isSmallcaps) ? tree : decoder(isSmallcaps, slots).value(tree);
  }

  function mustBeArray(value) {
    if (!Array.isArray(value)) throw new TypeError(`the arguments of a message must be an array, not ${typeof value}`);
    return value;
  }

  function readArgs(body, slots) {
    const isSmallcaps = body.charCodeAt(0) === HASH;
    return elements(mustBeArray(parse(isSmallcaps ? body.slice(1) : body)), isSmallcaps, slots);
  }

  // [method, args]; without args if it is a property that is asked for.
  function readCall(body, slots) {
    const isSmallcaps = body.charCodeAt(0) === HASH;
    const tree = mustBeArray(parse(isSmallcaps ? body.slice(1) : body));
    if (!isPlain(tree[0], isSmallcaps)) tree[0] = decoder(isSmallcaps, '').value(tree[0]);
    if (tree.length > 1) elements(mustBeArray(tree[1]), isSmallcaps, slots);
    return tree;
  }

  // ---- writing ----

  // The JSON of a plain value, or undefined.
  function quick(value) {
    switch (typeof value) {
      case 'number': return value - value !== 0 || (is2019 && value === 0 && 1 / value < 0) ? undefined : '' + value;
      case 'boolean': return value ? 'true' : 'false';
      case 'undefined': return is2019 ? UNDEFINED_2019 : UNDEFINED;
      case 'string': {
        if (is2019) return stringify(value);
        const code = value.charCodeAt(0);
        return (code >= BANG && code <= DASH) || !value.isWellFormed() ? undefined : stringify(value);
      }
      default: return value === null ? 'null' : undefined;
    }
  }

  // A hardened value as {body, slots}.
  function write(value) {
    const text = quick(value);
    return text === undefined ? marshal.serialize(value) : { body: is2019 ? text : '#' + text, slots: NONE };
  }

  const isPlainName = (name) => {
    if (typeof name !== 'string') return false;
    const code = name.charCodeAt(0);
    return !(code >= BANG && code <= DASH);
  };

  // An array of hardened values. In today's form the method is part of the body.
  function writeArgs(args, method) {
    const { length } = args;
    let isQuick = is2019 || isPlainName(method);
    let text = '';
    for (let i = 0; isQuick && i < length; i++) {
      const part = quick(args[i]);
      if (part === undefined) isQuick = false;
      else text += i === 0 ? part : ',' + part;
    }
    if (!isQuick) return is2019 ? marshal.serializeArgs(args) : marshal.serializeCall(method, args);
    return { body: is2019 ? '[' + text + ']' : '#[' + quotedName(method) + ',[' + text + ']]', slots: NONE };
  }

  runtime.bodies = { become, read, readArgs, readCall, write, writeArgs, quick, NONE };
})
