// `makeMarshal`: values to messages and back, in the dialect of today; `makeMarshal2019`, in that of 2019.
//
// Besides what Endo's has, both have what is quicker to write messages with:
//   serializeArgs(args)         {body, slots} of a fresh array of hardened values that nobody else has; not frozen
//   serializeCall(method, args) the same of [method, args]; a method's name is taken to be well-formed
(function (native, runtime) {
  'use strict';
  const { isArray } = Array;
  const { Array: ArrayOf, Error } = globalThis;
  const { parse } = JSON;
  const { harden, encoders, decoders } = runtime;
  const { assertPassable } = runtime.pass;
  const { assert } = runtime;
  const { Fail, quote: q } = assert;
  const HASH = 35;
  const DASH = 45;

  // `make` gives an encoder. It is used again unless it fails, or is asked while it is busy.
  function writing(make, prefix) {
    let spare;
    const borrow = () => {
      const encoder = spare === undefined ? make() : spare;
      spare = undefined;
      return encoder;
    };
    const serialize = (root) => {
      const encoder = borrow();
      const body = encoder.root(root);
      const slots = encoder.take();
      spare = encoder;
      return harden({ body, slots });
    };
    const serializeArgs = (args) => {
      const encoder = borrow();
      const body = prefix + encoder.array(args);
      const slots = encoder.take();
      spare = encoder;
      return { body, slots };
    };
    const serializeCall = (method, args) => {
      const encoder = borrow();
      const name = typeof method === 'string' && method.charCodeAt(0) > DASH ? encoders.quotedName(method) : encoder.value(method, '0');
      const body = `${prefix}[${name},${encoder.array(args)}]`;
      const slots = encoder.take();
      spare = encoder;
      return { body, slots };
    };
    return { serialize, serializeArgs, serializeCall };
  }

  const treeOf = (body) => parse(body.charCodeAt(0) === HASH ? body.slice(1) : body);
  const decoderOf = (body, slots, toValue, old, cycles) => (body.charCodeAt(0) === HASH ? new decoders.Smallcaps(slots, toValue)
    : new decoders.CapData(slots, toValue, old, cycles));

  const same = (value) => value;
  const sameSlot = (slot, _iface) => slot;

  function makeMarshal(convertValToSlot = same, convertSlotToVal = sameSlot, options = {}) {
    const { errorTagging = 'on', marshalName = 'anon-marshal', marshalSaveError = undefined, serializeBodyFormat = 'capdata' } = options;
    let { errorIdNum = 10000 } = options;
    assert.typeof(marshalName, 'string');
    if (errorTagging !== 'on' && errorTagging !== 'off') Fail`The errorTagging option can only be "on" or "off" ${errorTagging}`;
    const tag = (error) => {
      errorIdNum += 1;
      if (marshalSaveError !== undefined) marshalSaveError(error);
      return `error:${marshalName}#${errorIdNum}`;
    };
    const errorId = errorTagging === 'on' ? tag : undefined;
    const isSmallcaps = serializeBodyFormat === 'smallcaps';
    const Encoder = isSmallcaps ? encoders.Smallcaps : encoders.CapData;

    const { serialize: toCapData, ...quick } = writing(() => {
      if (!isSmallcaps && serializeBodyFormat !== 'capdata') Fail`Unrecognized serializeBodyFormat: ${q(serializeBodyFormat)}`;
      return new Encoder(convertValToSlot, errorId);
    }, isSmallcaps ? '#' : '');

    const fromCapData = (data) => {
      const { body, slots } = data;
      if (typeof body !== 'string') Fail`unserialize() given non-capdata (.body is ${body}, not string)`;
      if (!isArray(slots)) Fail`unserialize() given non-capdata (.slots are not Array)`;
      const value = decoderOf(body, slots, convertSlotToVal, false, 'forbidCycles').value(treeOf(body));
      if (slots.length > 0) assertPassable(value);
      return value;
    };

    return harden({ toCapData, fromCapData, serialize: toCapData, unserialize: fromCapData, ...quick });
  }

  // `toSlot` gives the slot of a presence or promise, `toValue` what a slot stands for.
  function makeMarshal2019(toSlot, toValue) {
    const { serialize, ...quick } = writing(() => new encoders.CapData2019(toSlot), '');
    const unserialize = (data, cyclePolicy = 'forbidCycles') => {
      const { body, slots } = data;
      if (body !== `${body}`) throw new Error(`unserialize() given non-capdata (.body is ${body}, not string)`);
      if (!(slots instanceof ArrayOf)) throw new Error('unserialize() given non-capdata (.slots are not Array)');
      return harden(decoderOf(body, slots, toValue, true, cyclePolicy).value(treeOf(body)));
    };
    return harden({ serialize, unserialize, toCapData: serialize, fromCapData: unserialize, ...quick });
  }

  runtime.makeMarshal = harden(makeMarshal);
  runtime.makeMarshal2019 = harden(makeMarshal2019);
})
