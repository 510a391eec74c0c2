// Exos: remotables whose methods are guarded, alone, as a class, or as facets of one thing. In the heap: nothing of them is
// kept beyond the life of the vat's objects.
//
// `runtime.makeExos` is called once the patterns exist. An instance is an object without own properties; its methods find
// its state, and refuse any other `this`.
(function (native, runtime) {
  'use strict';
  const { WeakMap, Promise } = globalThis;
  const { create, defineProperties, freeze, fromEntries, seal, values } = Object;
  const { apply, ownKeys } = Reflect;
  const { harden, E, getMethodNames } = runtime;
  const { Far, toThrowable } = runtime.pass;
  const { assert } = runtime;
  const { Fail, quote: q } = assert;
  const StringOf = String;

  const REDACTED = '<redacted raw arg>';
  const GET_INTERFACE_GUARD = '__getInterfaceGuard__';
  const difference = (a, b) => a.filter((item) => !b.includes(item));
  const objectMap = (record, map) => fromEntries(ownKeys(record).map((key) => [key, map(record[key], key)]));

  runtime.makeExos = ({ M, mustMatch, isRawGuard, isAwaitArgGuard, getMethodGuardPayload, getAwaitArgGuardPayload,
    getInterfaceGuardPayload, getNamedMethodGuards }) => {
    const rawMethod = M.call().rest(M.raw()).returns(M.raw());
    const passableMethod = M.call().rest(M.any()).returns(M.any());

    // A function that checks the arguments of a call. Raw ones are not looked at.
    function checkerOf({ argGuards, optionalArgGuards = [], restArgGuard }, label) {
      const declared = [...argGuards, ...optionalArgGuards];
      const raw = declared.map((guard) => isRawGuard(guard));
      const isRawRest = restArgGuard !== undefined && isRawGuard(restArgGuard);
      const hide = (guard) => (isRawGuard(guard) ? REDACTED : guard);
      const pattern = M.splitArray(harden(argGuards.map(hide)), harden(optionalArgGuards.map(hide)),
        isRawRest ? M.arrayOf(REDACTED) : restArgGuard);
      return (args) => {
        const seen = args.map((arg, i) => (i < raw.length ? raw[i] : isRawRest) ? REDACTED : arg);
        mustMatch(harden(seen), pattern, label);
        if (restArgGuard === undefined && args.length > declared.length) {
          Fail`${q(label)} accepts at most ${q(declared.length)} arguments, not ${q(args.length)}: ${args}`;
        }
      };
    }

    function guardSync(contextOf, behavior, payload, label) {
      const check = checkerOf(payload, label);
      const { returnGuard } = payload;
      const isRawReturn = isRawGuard(returnGuard);
      return {
        method(...args) {
          try {
            const context = contextOf(this);
            check(args);
            const result = apply(behavior, context, args);
            if (!isRawReturn) mustMatch(harden(result), returnGuard, `${label}: result`);
            return result;
          } catch (error) {
            throw toThrowable(error);
          }
        },
      }.method;
    }

    function guardAsync(contextOf, behavior, payload, label) {
      const { argGuards, optionalArgGuards = [], restArgGuard, returnGuard } = payload;
      if (restArgGuard !== undefined && isAwaitArgGuard(restArgGuard)) Fail`Rest args may not be awaited: ${restArgGuard}`;
      const declared = [...argGuards, ...optionalArgGuards];
      const awaited = declared.map((guard) => isAwaitArgGuard(guard));
      const settledGuards = (guards) => harden(guards.map((guard) =>
        (isAwaitArgGuard(guard) ? getAwaitArgGuardPayload(guard).argGuard : guard)));
      const check = checkerOf({ argGuards: settledGuards(argGuards), optionalArgGuards: settledGuards(optionalArgGuards),
        restArgGuard }, label);
      const isRawReturn = isRawGuard(returnGuard);
      return {
        method(...args) {
          const settled = Promise.all(args.filter((_, i) => awaited[i]));
          const called = E.when(settled, (list) => {
            let next = 0;
            const given = args.map((arg, i) => (awaited[i] ? list[next++] : arg));
            const context = contextOf(this);
            check(given);
            return apply(behavior, context, given);
          });
          return E.when(called, (result) => {
            if (!isRawReturn) mustMatch(harden(result), returnGuard, `${label}: result`);
            return result;
          }).catch((error) => Promise.reject(toThrowable(error)));
        },
      }.method;
    }

    function guardMethod(label, provide, behavior, guard) {
      assert.typeof(behavior, 'function');
      const contextOf = (self) => {
        if (!self) Fail`Method ${label} called without 'this' object`;
        const context = provide(self);
        if (context === undefined) throw Fail`${q(label)} may only be applied to a valid instance: ${self}`;
        return context;
      };
      const payload = getMethodGuardPayload(guard);
      const method = (payload.callKind === 'sync' ? guardSync : guardAsync)(contextOf, behavior, payload, label);
      defineProperties(method, { name: { value: label }, length: { value: behavior.length } });
      return method;
    }

    // The prototype of all instances: each method finds its context with `provide(this)`.
    function guardedPrototype(tag, provide, methods, interfaceGuard) {
      const isOwnClass = (name) => name === 'constructor' && methods.constructor.prototype
        && methods.constructor.prototype.constructor === methods.constructor;
      const names = getMethodNames(methods).filter((name) => !isOwnClass(name));
      let guards = {};
      let otherwise;
      if (interfaceGuard) {
        const { interfaceName, sloppy, defaultGuards = sloppy ? 'passable' : undefined } = getInterfaceGuardPayload(interfaceGuard);
        guards = getNamedMethodGuards(interfaceGuard);
        otherwise = defaultGuards;
        const guarded = ownKeys(guards);
        const unimplemented = difference(guarded, names);
        if (unimplemented.length > 0) Fail`methods ${q(unimplemented)} not implemented by ${q(tag)}`;
        const unguarded = defaultGuards === undefined ? difference(names, guarded) : [];
        if (unguarded.length > 0) Fail`methods ${q(unguarded)} not guarded by ${q(interfaceName)}`;
      }
      const prototype = {};
      for (const name of names) {
        prototype[name] = guardMethod(`In ${q(name)} method of (${tag})`, provide, methods[name],
          guards[name] || (otherwise === 'raw' ? rawMethod : passableMethod));
      }
      if (!Object.hasOwn(prototype, GET_INTERFACE_GUARD)) {
        const { [GET_INTERFACE_GUARD]: getGuard } = { [GET_INTERFACE_GUARD]() { return interfaceGuard; } };
        prototype[GET_INTERFACE_GUARD] = guardMethod(`In ${q(GET_INTERFACE_GUARD)} method of (${tag})`, provide, getGuard,
          passableMethod);
      }
      return Far(tag, prototype);
    }

    runtime.guardedPrototype = guardedPrototype;

    const empty = harden({});
    const initEmpty = () => empty;

    function defineExoClass(tag, interfaceGuard, init, methods, options = {}) {
      harden(methods);
      const { finish, receiveAmplifier, receiveInstanceTester } = options;
      if (receiveAmplifier !== undefined) Fail`Only facets of an exo class kit can be amplified ${q(tag)}`;
      const contexts = new WeakMap();
      const prototype = guardedPrototype(tag, (self) => contexts.get(self), methods, interfaceGuard);
      if (receiveInstanceTester) {
        receiveInstanceTester(harden((exo, facetName = undefined) => {
          if (facetName !== undefined) Fail`facetName can only be used with an exo class kit: ${q(tag)} has no facet ${q(facetName)}`;
          return contexts.has(exo);
        }));
      }
      return harden((...args) => {
        const state = seal(init(...args));
        const self = harden(create(prototype));
        const context = freeze({ state, self });
        contexts.set(self, context);
        if (finish) finish(context);
        return self;
      });
    }

    function checkFacets(tag, names, interfaceGuards) {
      if (names.length < 2) Fail`A multi-facet object must have multiple facets`;
      if (!interfaceGuards) return;
      const guarded = ownKeys(interfaceGuards);
      const unguarded = difference(names, guarded);
      if (unguarded.length > 0) Fail`Interfaces ${q(unguarded)} not implemented by ${q(tag)}`;
      const extra = difference(guarded, names);
      if (extra.length > 0) Fail`Facets ${q(extra)} of ${q(tag)} not guarded by interfaces`;
    }

    function defineExoClassKit(tag, interfaceGuards, init, methodsKit, options = {}) {
      harden(methodsKit);
      const { finish, receiveAmplifier, receiveInstanceTester } = options;
      checkFacets(tag, ownKeys(methodsKit).sort(), interfaceGuards);
      const contexts = objectMap(methodsKit, () => new WeakMap());
      const prototypes = objectMap(methodsKit, (methods, name) => guardedPrototype(`${tag} ${StringOf(name)}`,
        (self) => contexts[name].get(self), methods, interfaceGuards && interfaceGuards[name]));
      if (receiveAmplifier) {
        receiveAmplifier(harden((facet) => {
          for (const map of values(contexts)) if (map.has(facet)) return map.get(facet).facets;
          throw Fail`Must be a facet of ${q(tag)}: ${facet}`;
        }));
      }
      if (receiveInstanceTester) {
        receiveInstanceTester(harden((facet, name = undefined) => {
          if (name === undefined) return values(contexts).some((map) => map.has(facet));
          assert.typeof(name, 'string');
          if (contexts[name] === undefined) Fail`exo class kit ${q(tag)} has no facet named ${q(name)}`;
          return contexts[name].has(facet);
        }));
      }
      return harden((...args) => {
        const context = { state: seal(init(...args)), facets: null };
        context.facets = harden(objectMap(prototypes, (prototype, name) => {
          const self = harden(create(prototype));
          contexts[name].set(self, context);
          return self;
        }));
        freeze(context);
        if (finish) finish(context);
        return context.facets;
      });
    }

    const makeExo = (tag, interfaceGuard, methods, options = undefined) =>
      defineExoClass(tag, interfaceGuard, initEmpty, methods, options)();

    return harden({ initEmpty, makeExo, defineExoClass, defineExoClassKit, GET_INTERFACE_GUARD });
  };
})
