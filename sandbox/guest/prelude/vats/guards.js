// Guards: what the methods of an object accept and return. `runtime.makeGuards` is called by the patterns, which guards are
// made of; it gives the makers `M.interface`, `M.call` and so on, and the shapes of what they make.
(function (native, runtime) {
  'use strict';
  const { fromEntries } = Object;
  const { ownKeys } = Reflect;
  const { harden } = runtime;
  const { Fail } = runtime.assert;

  // `M` is a function: it exists only later.
  runtime.makeGuards = ({ makeTagged, mustMatch, matches, makeCopyMap, getCopyMapEntries, M }) => {
    // Made when they are first needed.
    const later = (make) => {
      let made;
      return () => {
        made ??= harden(make(M()));
        return made;
      };
    };
    const awaitShape = later((m) => m.kind('guard:awaitArgGuard'));
    const rawShape = later((m) => m.kind('guard:rawGuard'));
    const methodShape = later((m) => m.kind('guard:methodGuard'));
    const interfaceShape = later((m) => m.kind('guard:interfaceGuard'));
    const valueShape = later((m) => m.or(rawShape(), m.pattern()));
    const argShape = later((m) => m.or(rawShape(), awaitShape(), m.pattern()));
    const methodPayload = (callKind, arg) => (m) => ({
      callKind,
      argGuards: m.arrayOf(arg()),
      optionalArgGuards: m.opt(m.arrayOf(arg())),
      restArgGuard: m.opt(valueShape()),
      returnGuard: valueShape(),
    });
    const shapes = {
      __proto__: null,
      'guard:awaitArgGuard': later((m) => ({ argGuard: m.pattern() })),
      'guard:rawGuard': later((m) => m.record()),
      'guard:methodGuard': later((m) => m.or(methodPayload('sync', valueShape)(m), methodPayload('async', argShape)(m))),
      'guard:interfaceGuard': later((m) => m.splitRecord(
        { interfaceName: m.string(), methodGuards: m.recordOf(m.string(), methodShape()) },
        { defaultGuards: m.or(m.undefined(), 'passable', 'raw'), sloppy: m.boolean(), symbolMethodGuards: m.mapOf(m.symbol(),
          methodShape()) },
      )),
    };

    const isAwaitArgGuard = (value) => matches(value, awaitShape());
    const isRawGuard = (value) => matches(value, rawShape());
    const assertAwaitArgGuard = (value) => mustMatch(value, awaitShape(), 'awaitArgGuard');
    const assertRawGuard = (value) => mustMatch(value, rawShape(), 'rawGuard');
    const assertMethodGuard = (value) => mustMatch(value, methodShape(), 'methodGuard');
    const assertInterfaceGuard = (value) => mustMatch(value, interfaceShape(), 'interfaceGuard');
    const make = (tag, payload, check) => {
      const guard = makeTagged(tag, payload);
      check(guard);
      return guard;
    };

    const makeMethod = (callKind, argGuards, optionalArgGuards = undefined, restArgGuard = undefined) => harden({
      optional: (...optional) => {
        if (optionalArgGuards !== undefined) Fail`Can only have one set of optional guards`;
        if (restArgGuard !== undefined) Fail`optional arg guards must come before rest arg`;
        return makeMethod(callKind, argGuards, optional);
      },
      rest: (rest) => {
        if (restArgGuard !== undefined) Fail`Can only have one rest arg`;
        return makeMethod(callKind, argGuards, optionalArgGuards, rest);
      },
      returns: (returnGuard = M().undefined()) => make('guard:methodGuard',
        { callKind, argGuards, optionalArgGuards, restArgGuard, returnGuard }, assertMethodGuard),
    });

    function makeInterface(interfaceName, methodGuards, options = {}) {
      const { sloppy = false, defaultGuards = sloppy ? 'passable' : undefined } = options;
      const named = {};
      const symbols = [];
      for (const key of ownKeys(methodGuards)) {
        if (typeof key === 'symbol') symbols.push([key, methodGuards[key]]);
        else named[key] = methodGuards[key];
      }
      return make('guard:interfaceGuard', {
        interfaceName,
        methodGuards: named,
        ...(symbols.length > 0 ? { symbolMethodGuards: makeCopyMap(symbols) } : {}),
        defaultGuards,
      }, assertInterfaceGuard);
    }

    const payloadOf = (check) => (guard) => {
      check(guard);
      return guard.payload;
    };
    const getInterfaceGuardPayload = payloadOf(assertInterfaceGuard);
    // All guards of an interface, by name or symbol.
    const getNamedMethodGuards = (guard) => {
      const { methodGuards, symbolMethodGuards } = getInterfaceGuardPayload(guard);
      return harden(symbolMethodGuards === undefined ? methodGuards
        : { ...methodGuards, ...fromEntries(getCopyMapEntries(symbolMethodGuards)) });
    };

    return {
      shapes,
      makers: {
        interface: makeInterface,
        call: (...args) => makeMethod('sync', args),
        callWhen: (...args) => makeMethod('async', args),
        await: (argGuard) => make('guard:awaitArgGuard', { argGuard }, assertAwaitArgGuard),
        raw: () => makeTagged('guard:rawGuard', {}),
      },
      isAwaitArgGuard, isRawGuard, assertAwaitArgGuard, assertRawGuard, assertMethodGuard, assertInterfaceGuard,
      getAwaitArgGuardPayload: payloadOf(assertAwaitArgGuard),
      getMethodGuardPayload: payloadOf(assertMethodGuard),
      getInterfaceGuardPayload,
      getNamedMethodGuards,
      getInterfaceMethodKeys: (guard) => harden(ownKeys(getNamedMethodGuards(guard))),
    };
  };
})
