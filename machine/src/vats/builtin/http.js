// The vat that answers calls from outside: one object, its handler, is what the outside may call.
//
//   E(vats.http).connect(devices.http);            // unless the kernel has given the device as `vatParameters.device`
//   E(vats.http).register(counter);                // or register(counter, { caller: true })
//
// For each call the kernel sends the root object `call(method, args, caller)`: `args` is a JSON array, `caller` is
// `{ id: string | null }`, `id` being the key that has signed the call. The answer is the JSON of what the handler's method returns,
// or '' for undefined.
//
// With `{ caller: true }` each method of the handler gets the caller as its FIRST argument. Not as its last one: who calls from
// outside says how many arguments there are, and could put somebody else in the last one's place.
//
// The names of the handler's methods are asked for once, at `register`, and told to the device; nothing else can be called then.

import { E, Far, passStyleOf } from '@endo/far';

const INHERITED = new Set(Object.getOwnPropertyNames(Object.prototype));
const MAX_DEPTH = 500;

const isPublic = name => typeof name === 'string' && name !== '' && !name.startsWith('__') && !INHERITED.has(name);

// Throws if JSON cannot say what `value` is. `where` is the way to it, for the message.
const insistJSON = (value, where, depth) => {
  if (depth > MAX_DEPTH) throw TypeError(`${where} is nested too deeply for an answer`);
  const style = passStyleOf(value);
  switch (style) {
    case 'undefined':
    case 'null':
    case 'boolean':
    case 'string':
      return;
    case 'number':
      if (!Number.isFinite(value)) throw TypeError(`${where} is ${value}, which JSON cannot say`);
      return;
    case 'bigint':
      throw TypeError(`${where} is a BigInt, which JSON cannot say: return a string or a number`);
    case 'copyArray':
      value.forEach((item, index) => insistJSON(item, `${where}[${index}]`, depth + 1));
      return;
    case 'copyRecord':
      for (const name of Object.keys(value)) insistJSON(value[name], `${where}.${name}`, depth + 1);
      return;
    default: {
      const what = { remotable: 'an object of a vat', promise: 'a promise', error: 'an error' }[style] || `a ${style}`;
      throw TypeError(`${where} is ${what}: only data can leave through http`);
    }
  }
};

export const buildRootObject = ({ D }, vatParameters) => {
  let device = vatParameters && vatParameters.device;
  let handler;
  let withCaller = false;
  let names; // of the handler's methods, if it tells

  const announce = () => {
    if (device && names) D(device).methods(JSON.stringify(names));
  };

  return Far('http', {
    connect(httpDevice) {
      device = httpDevice;
      announce();
    },

    /** Makes `object` the one that the outside may call, in place of the one before. */
    register(object, { caller = false } = {}) {
      if (passStyleOf(object) !== 'remotable') throw TypeError('register(handler) takes an object with methods');
      handler = object;
      withCaller = caller === true;
      names = undefined;
      return E(object)
        .__getMethodNames__()
        .then(
          found => {
            if (handler !== object) return;
            names = harden(found.filter(isPublic).sort());
            announce();
          },
          () => {}, // it does not tell; any method may be tried
        );
    },

    methods: () => names || harden([]),

    async call(method, args, caller) {
      if (!handler) throw Error('nothing is served: E(vats.http).register(handler)');
      if (!isPublic(method) || (names && !names.includes(method))) {
        throw TypeError(`the handler has no method ${JSON.stringify(method)}, has ${JSON.stringify(names || [])}`);
      }
      const given = harden(JSON.parse(args));
      if (!Array.isArray(given)) throw TypeError('the arguments are not an array');
      const value = await E(handler)[method](...(withCaller ? [caller, ...given] : given));
      insistJSON(value, `the result of ${method}`, 0);
      return value === undefined ? '' : JSON.stringify(value);
    },
  });
};
