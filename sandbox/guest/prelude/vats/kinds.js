// Virtual and durable objects: their behaviour is in the heap, their state in the store.
//
// - A representative has no own properties; its methods find its state by its vref. It is made when it is needed and goes
//   when nobody in the heap has it any more: a vat may have more objects than its memory would hold.
(function (native, runtime) {
  'use strict';
  const { vatstore: store, slots: table, references, harden } = runtime;
  const { Error, Map, Number, Set } = globalThis;
  const { create, defineProperties, defineProperty, freeze, getOwnPropertyNames, hasOwn, entries } = Object;
  const { apply, ownKeys } = Reflect;
  const { parse, stringify } = JSON;
  const { Far, passStyleOf, toThrowable, isPrimitive } = runtime.pass;
  const { assertPattern, kindOf: patternKind } = runtime.patterns;
  const { assert } = runtime;
  const { Fail, quote: q } = assert;
  const { write, read, exchange, reachAll, isDurable } = references;
  const { Row, rowKey, keep, accessor, stateOf, mustMatchShape, insistDurable, forgetStates, removeState } = runtime.states;
  const { vrefs } = table;
  const StringOf = String;

  const FIRST_KIND = 10;

  // ---- behaviour ----

  // What behaviour gets besides its arguments: `state`, and `self` or `facets`. They are looked up when asked for.
  class Context {
    #kind;
    #baseRef;
    #self;

    constructor(kind, baseRef, self) {
      this.#kind = kind;
      this.#baseRef = baseRef;
      this.#self = self;
    }

    get state() { return stateOf(this.#kind, this.#baseRef); }
    get self() { return this.#kind.facets === undefined ? this.#self : undefined; }
    get facets() {
      const { facets } = this.#kind;
      if (facets === undefined) return undefined;
      if (this.#self === undefined) this.#self = cohortOf(this.#kind, this.#baseRef);
      return this.#self;
    }
  }
  harden(Context);

  const contextOf = (kind, baseRef, self) => new Context(kind, baseRef, kind.facets === undefined ? self : undefined);

  function cohortOf(kind, baseRef) {
    const cohort = {};
    for (let i = 0; i < kind.facets.length; i++) cohort[kind.facets[i]] = references.reanimate(`${baseRef}:${i}`);
    return harden(cohort);
  }

  // The context of an instance of a kind; undefined for anything else. `ending` is that of the facet's vrefs.
  function providerOf(kind, ending) {
    return (self) => {
      const vref = vrefs.get(self);
      if (vref === undefined || !vref.startsWith(kind.prefix) || !vref.endsWith(ending)) return undefined;
      return contextOf(kind, ending === '' ? vref : vref.slice(0, -ending.length), self);
    };
  }

  function mustPass(value) {
    if (!isPrimitive(value)) passStyleOf(harden(value));
    else if (typeof value === 'string' || typeof value === 'symbol') passStyleOf(value);
  }

  // Without a guard, a method takes and gives whatever it is, or if it is written with `this`, whatever is passable.
  function openMethod(label, provide, behavior, isThisful) {
    const { method } = {
      method(...args) {
        try {
          if (!this) Fail`Method ${label} called without 'this' object`;
          const context = provide(this);
          if (context === undefined) Fail`${q(label)} may only be applied to a valid instance: ${this}`;
          if (!isThisful) return behavior(context, ...args);
          for (let i = 0; i < args.length; i++) mustPass(args[i]);
          const result = apply(behavior, context, args);
          mustPass(result);
          return result;
        } catch (error) {
          throw toThrowable(error);
        }
      },
    };
    return defineProperties(method, { name: { value: label }, length: { value: behavior.length } });
  }

  const withContext = (behavior) => {
    const { method } = { method(...args) { return behavior(this, ...args); } };
    return defineProperties(method, { length: { value: behavior.length } });
  };

  function prototypeOf(tag, provide, behavior, isThisful, guard) {
    if (guard !== undefined) {
      const methods = {};
      for (const name of ownKeys(behavior)) methods[name] = isThisful ? behavior[name] : withContext(behavior[name]);
      return runtime.guardedPrototype(tag, provide, methods, guard);
    }
    const prototype = {};
    for (const name of ownKeys(behavior)) {
      if (name === 'constructor') continue;
      prototype[name] = openMethod(`In ${q(name)} method of (${tag})`, provide, behavior[name], isThisful);
    }
    const { __getInterfaceGuard__ } = { __getInterfaceGuard__() { return undefined; } };
    prototype.__getInterfaceGuard__ ??=
      openMethod(`In "__getInterfaceGuard__" method of (${tag})`, provide, __getInterfaceGuard__, true);
    return Far(tag, prototype);
  }

  // ---- what is defined ----

  // 'one' for a record of functions, 'many' for a record of such records.
  function facetiousness(behavior) {
    if (typeof behavior !== 'object' || behavior === null) return 'not';
    let found;
    for (const name of ownKeys(behavior)) {
      const one = typeof behavior[name] === 'function' ? 'one'
        : typeof name !== 'symbol' && facetiousness(behavior[name]) === 'one' ? 'many' : 'not';
      if (one === 'not' || (found !== undefined && one !== found)) return 'not';
      found = one;
    }
    return found ?? 'one';
  }

  // The facets that a kind has had keep their numbers; new ones follow.
  function mergeFacets(tag, descriptor, names) {
    if (descriptor.unfaceted && names) Fail`defineDurableKindMulti called for unfaceted KindHandle ${tag}`;
    if (descriptor.facets && !names) Fail`defineDurableKind called for faceted KindHandle ${tag}`;
    if (names === undefined) {
      descriptor.unfaceted = true;
      return;
    }
    const had = descriptor.facets ?? [];
    for (const name of had) {
      if (names.includes(name)) continue;
      Fail`durable kind "${tag}" facets (${names.join(',')}) is missing ${name} from original definition (${had.join(',')})`;
    }
    descriptor.facets = [...had, ...names.filter((name) => !had.includes(name))];
  }

  const isUndefinedPattern = (pattern) => pattern === undefined
    || (patternKind(pattern) === 'match:kind' && pattern.payload === 'undefined');

  // A new shape may add properties that may be missing, nothing else.
  function insistCompatible(was, is, shape) {
    if (was.body !== is.body) {
      const before = read(was) || Fail`durable Kind stateShape mismatch (no old shape)`;
      if (passStyleOf(before) !== 'copyRecord') Fail`durable Kind stateShape mismatch (invalid old shape)`;
      for (const [name, pattern] of entries(before)) {
        if (shape === undefined || !hasOwn(shape, name) || write(shape[name]).body !== write(pattern).body) {
          Fail`durable Kind stateShape mismatch (body ${name})`;
        }
      }
      for (const [name, pattern] of entries(shape)) {
        if (hasOwn(before, name)) continue;
        if (patternKind(pattern) !== 'match:or') Fail`durable Kind stateShape mismatch (body new field ${name})`;
        if (!pattern.payload.some(isUndefinedPattern)) Fail`durable Kind stateShape mismatch (body ${name})`;
      }
    }
    if (was.slots.length !== is.slots.length) Fail`durable Kind stateShape mismatch (slots.length)`;
    for (const [i, vref] of entries(was.slots)) if (is.slots[i] !== vref) Fail`durable Kind stateShape mismatch (slot[${i}])`;
  }

  const descriptorKey = (id) => `vom.dkind.${id}.descriptor`;
  const nextKey = (id) => `vom.dkind.${id}.nextID`;

  function define(kind, init, behavior, options, descriptor) {
    const { tag } = kind;
    const { finish, stateShape, receiveAmplifier, receiveInstanceTester, thisfulMethods = false } = options;
    let { interfaceGuard, interfaceGuardKit } = options;
    const isMulti = kind.facets !== undefined;
    switch (facetiousness(behavior)) {
      case 'one':
        assert(!isMulti);
        if (interfaceGuardKit !== undefined) Fail`Use an interfaceGuard, not interfaceGuardKit, to protect class ${q(tag)}`;
        break;
      case 'many':
        assert(isMulti);
        if (interfaceGuard !== undefined && interfaceGuardKit === undefined) {
          interfaceGuardKit = interfaceGuard;
          interfaceGuard = undefined;
        }
        if (interfaceGuard !== undefined) Fail`Use an interfaceGuardKit, not an interfaceGuard, to protect class kit ${q(tag)}`;
        kind.facets = ownKeys(behavior).sort();
        break;
      default: Fail`invalid behavior specifier for ${q(tag)}`;
    }
    harden(stateShape);
    if (stateShape !== undefined && passStyleOf(stateShape) !== 'copyRecord') {
      Fail`A stateShape must be a copyRecord: ${q(stateShape)}`;
    }
    assertPattern(stateShape);
    if (!isMulti && receiveAmplifier !== undefined) Fail`Only facets of an exo class kit can be amplified, not ${q(tag)}`;

    if (descriptor !== undefined) {
      mergeFacets(tag, descriptor, kind.facets);
      kind.facets = descriptor.facets;
      const shape = write(stateShape);
      insistDurable('stateShape', shape, false);
      const { stateShapeCapData: before } = descriptor;
      if (before !== undefined) insistCompatible(before, shape, stateShape);
      exchange(before === undefined ? [] : before.slots, shape.slots);
      descriptor.stateShapeCapData = shape;
      store.set(descriptorKey(kind.id), stringify(descriptor));
    }
    kind.shape = stateShape;
    if (stateShape !== undefined) {
      kind.statePrototype = {};
      for (const name of ownKeys(stateShape)) defineProperty(kind.statePrototype, name, accessor(kind, name));
      harden(kind.statePrototype);
    }
    kind.prefix = `o+${kind.durable ? 'd' : 'v'}${kind.id}/`;

    let providers;
    if (isMulti) {
      providers = kind.facets.map((_, i) => providerOf(kind, `:${i}`));
      kind.prototypes = kind.facets.map((name, i) => {
        // Of a facet that the new definition has not, there is none: `mergeFacets` has seen to it.
        const guard = interfaceGuardKit === undefined ? undefined : interfaceGuardKit[name];
        return harden(prototypeOf(`${tag} ${name}`, providers[i], behavior[name], thisfulMethods, guard));
      });
      if (interfaceGuardKit !== undefined) checkGuards(tag, kind.facets, interfaceGuardKit);
    } else {
      providers = [providerOf(kind, '')];
      kind.prototypes = [harden(prototypeOf(tag, providers[0], behavior, thisfulMethods, interfaceGuard))];
    }
    references.kinds.set(kind.id, kind);
    if (receiveAmplifier !== undefined) receiveAmplifier(amplifier(kind, providers));
    if (receiveInstanceTester !== undefined) receiveInstanceTester(tester(kind, providers));
    const makeNewInstance = (...args) => instance(kind, init === undefined ? {} : init, args, finish);
    return harden(makeNewInstance);
  }

  function checkGuards(tag, names, guards) {
    const guarded = ownKeys(guards);
    const missing = names.filter((name) => !guarded.includes(name));
    if (missing.length > 0) Fail`Interfaces ${q(missing)} not implemented by ${q(tag)}`;
    const extra = guarded.filter((name) => !names.includes(name));
    if (extra.length > 0) Fail`Facets ${q(extra)} of ${q(tag)} not guarded by interfaces`;
  }

  const amplifier = (kind, providers) => harden((facet) => {
    for (const provide of providers) {
      const context = isPrimitive(facet) ? undefined : provide(facet);
      if (context !== undefined) return context.facets;
    }
    throw Fail`Must be a facet of ${q(kind.tag)}: ${facet}`;
  });

  const tester = (kind, providers) => harden((object, name = undefined) => {
    const isOne = (provide) => !isPrimitive(object) && provide(object) !== undefined;
    if (name === undefined) return providers.some(isOne);
    if (kind.facets === undefined) {
      Fail`facetName can only be used with an exo class kit: ${q(kind.tag)} has no facet ${q(name)}`;
    }
    assert.typeof(name, 'string');
    const index = kind.facets.indexOf(name);
    if (index < 0) Fail`exo class kit ${q(kind.tag)} has no facet named ${q(name)}`;
    return isOne(providers[index]);
  });

  // ---- instances ----

  function represent(kind, vref, facet) {
    const representative = freeze(create(kind.prototypes[facet]));
    runtime.declareRemotable(representative);
    table.bindWeakly(representative, vref);
    return representative;
  }

  function instance(kind, init, args, finish) {
    const id = kind.next;
    kind.next = id + 1;
    if (kind.durable) store.change(nextKey(kind.id), StringOf(kind.next));
    const baseRef = kind.prefix + id;
    const initial = typeof init === 'function' ? init(...args) : init;
    if (typeof initial !== 'object') Fail`initial data must be object, not ${initial}`;
    const data = {};
    const values = create(null);
    let chars = 0;
    const names = getOwnPropertyNames(initial);
    for (let i = 0; i < names.length; i++) {
      const name = names[i];
      const value = initial[name];
      if (kind.shape !== undefined) mustMatchShape(kind, value, name);
      const written = write(value);
      if (kind.durable) insistDurable(name, written, true);
      if (written.slots.length > 0) reachAll(written.slots);
      data[name] = written;
      values[name] = value;
      chars += written.body.length;
    }
    const row = new Row(baseRef, data, values, chars);
    keep(row);
    store.change(rowKey(baseRef), row);
    let made;
    if (kind.facets === undefined) {
      made = represent(kind, baseRef, 0);
    } else {
      made = {};
      for (let i = 0; i < kind.facets.length; i++) made[kind.facets[i]] = represent(kind, `${baseRef}:${i}`, i);
      harden(made);
    }
    if (finish !== undefined) finish(contextOf(kind, baseRef, made));
    return made;
  }

  function newKind(id, tag, durable, isMulti, next) {
    const kind = { id, tag, durable, facets: isMulti ? [] : undefined, next, prefix: '', prototypes: [], shape: undefined,
      statePrototype: undefined, layout: undefined, layoutNames: undefined, remove: removeState,
      revive: (vref) => {
        const representative = freeze(create(kind.prototypes[references.facetOf(vref) ?? 0]));
        runtime.declareRemotable(representative);
        return representative;
      } };
    return kind;
  }

  // Below are the kinds of collections and of handles.
  function newId() {
    for (;;) {
      const id = table.nextExportNumber();
      if (id >= FIRST_KIND) return StringOf(id);
    }
  }

  // ---- for the vat ----

  const HANDLES = 'o+d1/';
  const handles = new Map(); // id -> handle: there are few
  const defined = new Set(); // ids of durable kinds
  const owed = new Map(); // id -> tag of those that are to be defined yet

  function defineVirtual(isMulti) {
    return (tag, init, behavior, options = {}) => {
      runtime.virtual.use();
      const id = newId();
      store.set(`vom.vkind.${id}.descriptor`, stringify({ kindID: id, tag }));
      return define(newKind(id, tag, false, isMulti, 1), init, behavior, options, undefined);
    };
  }

  function defineDurable(isMulti) {
    return (handle, init, behavior, options = {}) => {
      const vref = isPrimitive(handle) ? undefined : vrefs.get(handle);
      if (vref === undefined || !vref.startsWith(HANDLES)) Fail`unknown handle ${handle}`;
      const id = vref.slice(HANDLES.length);
      const descriptor = parse(store.get(descriptorKey(id)));
      const { tag } = descriptor;
      if (defined.has(id)) {
        if (isMulti) Fail`redefinition of durable kind "${tag}"`;
        Fail`redefinition of durable kind ${tag}`;
      }
      const make = define(newKind(id, tag, true, isMulti, Number(store.get(nextKey(id)))), init, behavior, options, descriptor);
      defined.add(id);
      owed.delete(id);
      return make;
    };
  }

  function makeKindHandle(tag) {
    runtime.virtual.use();
    const id = newId();
    store.set(descriptorKey(id), stringify({ kindID: id, tag }));
    store.set(nextKey(id), '1');
    owed.set(id, tag);
    return reviveHandle(HANDLES + id, true);
  }

  function reviveHandle(vref, isNew) {
    const id = vref.slice(HANDLES.length);
    let handle = handles.get(id);
    if (handle === undefined) {
      handle = Far('kind', {});
      handles.set(id, handle);
    }
    if (isNew) table.bindWeakly(handle, vref);
    return handle;
  }
  references.kinds.set('1', { durable: true, facets: undefined, revive: (vref) => reviveHandle(vref, false), remove: () => false });

  // After an upgrade, all that the vat has ever made are to be defined.
  function oweAll() {
    const prefix = 'vom.dkind.';
    for (let key = store.nextUnder(prefix); key !== undefined; key = store.nextUnder(prefix, key)) {
      if (!key.endsWith('.descriptor')) continue;
      const { kindID, tag } = parse(store.get(key));
      if (!defined.has(kindID)) owed.set(kindID, tag);
    }
  }

  function insistAllDefined() {
    if (owed.size > 0) throw new Error(`defineDurableKind not called for tags: [${[...owed.values()].join(',')}]`);
  }

  runtime.kinds = {
    defineKind: defineVirtual(false),
    defineKindMulti: defineVirtual(true),
    defineDurableKind: defineDurable(false),
    defineDurableKindMulti: defineDurable(true),
    makeKindHandle,
    canBeDurable: (specimen) => write(specimen).slots.every(isDurable),
    forgetStates, oweAll, insistAllDefined,
  };
})
