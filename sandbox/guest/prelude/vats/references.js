// What stored data holds, what the kernel can reach of it, and what goes when neither is so any more.
//
// - A virtual object lives while one of three holds it: the heap, other stored data (`vom.rc.` counts how often), or the
//   kernel (`vom.es.` has a letter for each facet: r reachable, s known, n neither).
// - An import that stored data mentions is counted in the same way. Other remotables and promises are held in the heap.
// - A key of a weak collection is only recognized: `vom.ir.${vref}|${collection}` says by which, `recognizers` by which of
//   the heap.
(function (native, runtime) {
  'use strict';
  const { vatstore: store, slots: table, makeMarshal } = runtime;
  const { Error, Map, Number, Promise, Set, WeakMap } = globalThis;
  const { parse, stringify } = JSON;
  const { Fail, details: X, makeError } = runtime.assert;
  const { died, isVirtual } = table;
  const StringOf = String;

  const BANG = 33, DASH = 45;
  const MAX_BODY_CHARS = 10_000_000;
  const MAX_SLOTS = 10_000;
  const MAX_STATUSES = 256;
  const SMALLCAPS = { serializeBodyFormat: 'smallcaps', errorIdNum: 70_000 };
  const NONE = [];

  // ---- names ----

  // o+v10/3:1 is facet 1 of o+v10/3, which is instance 3 of kind 10.
  const baseOf = (vref) => {
    const end = vref.indexOf(':');
    return end < 0 ? vref : vref.slice(0, end);
  };
  const facetOf = (vref) => {
    const end = vref.indexOf(':');
    return end < 0 ? undefined : Number(vref.slice(end + 1));
  };
  const kindOf = (vref) => vref.slice(3, vref.indexOf('/'));
  const isObject = (vref) => vref[0] === 'o';

  // ---- values in rows ----

  const promiseNames = new WeakMap(); // promise -> its name in rows, which is none of the kernel's
  const held = new Map(); // name of a remotable or promise that rows mention -> {value, count}
  let vatID = 'vat';
  let marshal;

  function nameOf(value) {
    if (!(value instanceof Promise)) return table.vrefs.get(value) ?? table.nameWeakly(value);
    let name = promiseNames.get(value);
    if (name === undefined) {
      name = table.nextPromise();
      promiseNames.set(value, name);
    }
    promises.set(name, value);
    return name;
  }
  const promises = new Map(); // of the serialisation that is going on
  const valueOf = (name, iface) => (name[0] === 'p' ? held.get(name).value : table.valueOf(name, iface));

  function full() {
    if (marshal === undefined) {
      marshal = makeMarshal(nameOf, valueOf, { ...SMALLCAPS, marshalName: `liveSlots:${vatID}` });
    }
    return marshal;
  }

  // {body, slots} of a hardened value. Whoever keeps it calls `reach` for its slots.
  function write(value) {
    switch (typeof value) {
      case 'number':
        if (value - value === 0) return { body: '#' + value, slots: NONE };
        break;
      case 'boolean': return { body: value ? '#true' : '#false', slots: NONE };
      case 'undefined': return { body: '#"#undefined"', slots: NONE };
      case 'string': {
        const code = value.charCodeAt(0);
        if (!(code >= BANG && code <= DASH) && value.isWellFormed()) return checked({ body: '#' + stringify(value), slots: NONE });
        break;
      }
      default:
        if (value === null) return { body: '#null', slots: NONE };
    }
    if (promises.size > 0) promises.clear();
    return checked(full().serialize(value));
  }

  function checked(data) {
    if (data.body.length > MAX_BODY_CHARS || data.slots.length > MAX_SLOTS) throw new Error('syscall capdata too large');
    return data;
  }

  function read(data) {
    const { body, slots } = data;
    const first = body.charCodeAt(1);
    if (slots.length === 0 && first !== 91 && first !== 123) { // neither [ nor {
      if (first !== 34) return parse(body.slice(1));
      const second = body.charCodeAt(2);
      if (!(second >= BANG && second <= DASH)) return parse(body.slice(1));
      if (second === 34) return '';
    }
    return full().unserialize(data);
  }

  const rowOf = ({ body, slots }) => '{"body":' + stringify(body) + ',"slots":' + (slots.length === 0 ? '[]}' : stringify(slots) + '}');

  // ---- counts ----

  const countKey = (baseRef) => 'vom.rc.' + baseRef;
  const countOf = (baseRef) => Number(store.get(countKey(baseRef)) ?? 0);

  function reach(vref) {
    if (isObject(vref) && (vref[1] === '-' || isVirtual(vref))) {
      const baseRef = baseOf(vref);
      store.change(countKey(baseRef), StringOf(countOf(baseRef) + 1));
      return;
    }
    if (vref[0] === 'd') return;
    const known = held.get(vref);
    if (known !== undefined) known.count++;
    else held.set(vref, { value: vref[0] === 'p' ? promises.get(vref) : table.valueOf(vref), count: 1 });
  }

  function leave(vref) {
    if (isObject(vref) && (vref[1] === '-' || isVirtual(vref))) {
      const baseRef = baseOf(vref);
      const count = countOf(baseRef);
      if (count <= 0) Fail`attempt to decref ${baseRef} below 0`;
      if (count > 1) {
        store.change(countKey(baseRef), StringOf(count - 1));
      } else {
        store.discard(countKey(baseRef));
        died(baseRef);
      }
      return;
    }
    if (vref[0] === 'd') return;
    const known = held.get(vref);
    if (known === undefined) Fail`attempt to decref ${vref} below 0`;
    else if (known.count === 1) held.delete(vref);
    else known.count--;
  }

  const reachAll = (slots) => { for (let i = 0; i < slots.length; i++) reach(slots[i]); };
  const leaveAll = (slots) => { for (let i = 0; i < slots.length; i++) leave(slots[i]); };

  // A row has other slots now. What is in both keeps its count.
  function exchange(before, after) {
    if (before.length === 0 && after.length === 0) return;
    for (const vref of new Set([...before, ...after].sort())) {
      const was = before.includes(vref), is = after.includes(vref);
      if (is && !was) reach(vref);
      else if (was && !is) leave(vref);
    }
  }

  // ---- durability ----

  const isDurable = (vref) => (isObject(vref) ? vref[1] === '-' || vref[2] === 'd' : vref[0] === 'd');

  // ---- what the kernel knows ----

  const statuses = new Map(); // baseRef -> row, of some
  const statusKey = (baseRef) => 'vom.es.' + baseRef;

  function statusOf(baseRef) {
    let status = statuses.get(baseRef);
    if (status === undefined) {
      status = store.get(statusKey(baseRef)) ?? '';
      remember(baseRef, status);
    }
    return status;
  }
  function remember(baseRef, status) {
    if (statuses.size >= MAX_STATUSES) statuses.clear();
    statuses.set(baseRef, status);
  }

  function setStatus(vref, letter) {
    const baseRef = baseOf(vref);
    const facet = facetOf(vref) ?? 0;
    const before = statusOf(baseRef);
    if (before[facet] === letter) return before;
    const padded = before.padEnd(facetCount(baseRef), 'n');
    const status = padded.slice(0, facet) + letter + padded.slice(facet + 1);
    if (status.includes('r') || status.includes('s')) {
      store.set(statusKey(baseRef), status);
      remember(baseRef, status);
    } else {
      if (before !== '') store.remove(statusKey(baseRef));
      remember(baseRef, '');
    }
    return status;
  }

  const retain = (vref) => { setStatus(vref, 'r'); };
  const retireExport = (vref) => { setStatus(vref, 'n'); };
  function dropExport(vref) {
    const status = setStatus(vref, 's');
    if (!status.includes('r')) died(baseOf(vref));
  }

  // ---- kinds ----

  // By number. `facets` are the names of its facets, if it has some; `revive(baseRef, facet)` makes a representative without
  // a look at the store; `remove(baseRef)` lets go of all rows of an instance but for the counts here; false if there is none.
  const kinds = new Map();

  const facetCount = (vref) => kinds.get(kindOf(vref))?.facets?.length ?? 1;

  function reanimate(vref, iface) {
    const alive = table.alive(vref);
    if (alive !== undefined) return alive;
    const kind = kinds.get(kindOf(vref));
    if (kind === undefined) throw makeError(X`failed to reanimate ${iface}`);
    const representative = kind.revive(vref);
    table.bindWeakly(representative, vref);
    return representative;
  }

  // ---- recognition ----

  const recognizers = new Map(); // vref -> set of maps and sets of the heap that have it as a key
  const lost = new Set(); // imports that have ceased to be keys

  function recognize(vref, recognizer) {
    const known = recognizers.get(vref);
    if (known === undefined) recognizers.set(vref, new Set([recognizer]));
    else known.add(recognizer);
  }
  function unrecognize(vref, recognizer) {
    const known = recognizers.get(vref);
    if (known === undefined) return;
    known.delete(recognizer);
    if (known.size > 0) return;
    recognizers.delete(vref);
    if (vref[1] === '-') lost.add(vref);
  }

  const keyRow = (vref, collection) => `vom.ir.${vref}|${collection}`;
  let hasKeys; // whether there has ever been such a row
  function anyKeys() {
    if (hasKeys === undefined) hasKeys = references.inUse && store.nextUnder('vom.ir.') !== undefined;
    return hasKeys;
  }
  function recognizeIn(vref, collection) {
    hasKeys = true;
    store.set(keyRow(vref, collection), '1');
  }
  function unrecognizeIn(vref, collection) {
    store.remove(keyRow(vref, collection));
    if (vref[1] === '-') lost.add(vref);
  }

  let removeEntry; // of a weak collection

  function ceaseRecognition(vref) {
    if (recognizers.size > 0) {
      const known = recognizers.get(vref);
      if (known !== undefined) {
        recognizers.delete(vref);
        for (const recognizer of known) recognizer.delete(vref);
      }
    }
    if (!anyKeys()) return;
    const prefix = `vom.ir.${vref}|`;
    for (let key = store.nextUnder(prefix); key !== undefined; key = store.nextUnder(prefix, key)) {
      store.remove(key);
      removeEntry(key.slice(prefix.length), vref);
    }
  }

  const recognizes = (vref) => recognizers.has(vref) || (anyKeys() && store.nextUnder(`vom.ir.${vref}|`) !== undefined);
  function unrecognized() {
    const list = [...lost];
    lost.clear();
    return list;
  }
  const reaches = (vref) => references.inUse && countOf(vref) > 0;

  // ---- garbage ----

  const facetsOf = (baseRef) => {
    const names = kinds.get(kindOf(baseRef))?.facets;
    return names === undefined ? [baseRef] : names.map((_, i) => `${baseRef}:${i}`);
  };
  const NOTHING = { retire: NONE };

  function collect(vref) {
    const baseRef = baseOf(vref);
    const facets = facetsOf(baseRef);
    for (let i = 0; i < facets.length; i++) if (table.isKnown(facets[i])) return NOTHING;
    if (!references.inUse || countOf(baseRef) > 0) return NOTHING;
    const status = statusOf(baseRef);
    if (status.includes('r')) return NOTHING;
    // Its end may be seen more than once: by each facet, and by what mentioned it.
    if (!kinds.get(kindOf(baseRef)).remove(baseRef)) return NOTHING;
    if (status !== '') store.remove(statusKey(baseRef));
    statuses.delete(baseRef);
    for (let i = 0; i < facets.length; i++) ceaseRecognition(facets[i]);
    return { retire: facets.filter((_, i) => status[i] === 's') };
  }

  const references = {
    inUse: false, // whether the vat has rows
    kinds, facetOf,
    write, read, rowOf, checked,
    reach, leave, reachAll, leaveAll, exchange, isDurable,
    retain, dropExport, retireExport, reanimate, collect,
    recognize, unrecognize, recognizeIn, unrecognizeIn, ceaseRecognition, recognizes, unrecognized, reaches, recognizers, lost,
    become: (id) => { vatID = id; },
    removeEntriesWith: (remove) => { removeEntry = remove; },
  };
  runtime.references = references;
})
