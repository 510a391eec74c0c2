// The vat that makes vats, over the vatAdmin device. Vats, meters and bundles have names in the kernel; here they are objects, so
// that only who was given one can use it.
//
//   const service = await E(vats.vatAdmin).createVatAdminService(devices.vatAdmin);
//   const { root, adminNode } = await E(service).createVatByName('counter', { vatParameters: { start: 5 } });
//
// The device asks the kernel at once and answers with a name. How it went, the kernel tells the root object later:
//
//   newVatCallback(vatID, { rootObject } | { error })      vatTerminated(vatID, shouldReject, info)
//   vatUpgradeCallback(upgradeID, success, incarnation or error)
//   meterCrossedThreshold(meterID, remaining)              bundleInstalled(bundleID)

import { Far, passStyleOf } from '@endo/far';
import { makePromiseKit } from '@endo/promise-kit';

const OPTION_TYPES = {
  __proto__: null,
  name: 'string',
  managerType: 'string', // known, and of no effect: there is one kind of worker
  enableSetup: 'boolean',
  enablePipelining: 'boolean',
  useTranscript: 'boolean',
  reapInterval: 'number',
  meter: 'object',
  vatParameters: undefined,
  critical: undefined,
  nodeOptions: undefined,
};
const MAX_NAME_CHARS = 199;

const isNat = value => Number.isSafeInteger(value) && value >= 0;
const quote = value => JSON.stringify(value);

const nat = (value, what) => {
  const number = typeof value === 'number' && isNat(value) ? BigInt(value) : value;
  if (typeof number !== 'bigint' || number < 0n) throw TypeError(`${what} must be a natural number`);
  return number;
};

export const buildRootObject = ({ D }) => {
  let device;
  const creations = new Map(); // vatID -> promise kit for { root, adminNode }
  const upgrades = new Map(); // upgradeID -> promise kit for { incarnationNumber }
  const bundles = new Map(); // bundleID -> promise kit for its bundle cap
  const running = new Map(); // vatID -> promise kit for its end
  const ending = new Set(); // vatIDs that were told to end
  const meterIDs = new WeakMap(); // meter -> meterID
  const meterUpdates = new Map(); // meterID -> what is to hear of a crossed threshold
  const criticalVatKey = Far('criticalVatKey', {});

  const kernel = () => {
    if (!device) throw Error('vatAdmin device not configured');
    return D(device);
  };

  const insistRunning = (vatID, operation) => {
    if (running.has(vatID) && (operation === 'done' || !ending.has(vatID))) return;
    throw Error(`vatAdminService rejecting attempt to perform ${quote(operation)}() on non-running vat ${quote(vatID)}`);
  };

  const bundleIDOf = (bundleCap, refusal) => {
    let bundleID;
    try {
      bundleID = D(bundleCap).getBundleID();
    } catch (_) {
      throw Error(refusal);
    }
    if (typeof bundleID !== 'string') throw Error(refusal);
    return bundleID;
  };

  // What the device is given: data, the meter by its name, and `vatParameters` as they are.
  const readOptions = options => {
    const unknown = Object.keys(options).filter(name => !(name in OPTION_TYPES));
    if (unknown.length > 0) throw Error(`CreateVatOptions: unknown options ${quote(unknown.join(','))}`);
    for (const name of Object.keys(options)) {
      const type = OPTION_TYPES[name];
      const value = options[name];
      const never = name === 'reapInterval' && value === 'never';
      if (value !== undefined && type && typeof value !== type && !never) throw Error(`CreateVatOptions(${name})`);
    }
    const { name, meter, critical, enableSetup, reapInterval, vatParameters } = options;
    if (name !== undefined) {
      if (name.length > MAX_NAME_CHARS) throw Error(`CreateVatOptions: oversized vat name ${quote(name)}`);
      if (!/^[A-Za-z0-9._-]+$/.test(name)) throw Error(`CreateVatOptions: bad vat name ${quote(name)}`);
    }
    if (typeof reapInterval === 'number' && !isNat(reapInterval)) throw Error('CreateVatOptions(reapInterval)');
    if (meter && !meterIDs.has(meter)) throw Error('CreateVatOptions: this is no meter of ours');
    if (critical && critical !== criticalVatKey) throw Error('invalid criticalVatKey');
    const meterID = meter ? meterIDs.get(meter) : undefined;
    return harden({ name, meterID, enableSetup: !!enableSetup, reapInterval, critical: !!critical, vatParameters });
  };

  const makeAdminNode = vatID =>
    Far('adminNode', {
      /** A promise that is resolved when the vat ends, or rejected when it fails. */
      done() {
        insistRunning(vatID, 'done');
        return running.get(vatID).promise;
      },

      terminateWithFailure(reason) {
        insistRunning(vatID, 'terminateWithFailure');
        ending.add(vatID);
        kernel().terminateWithFailure(vatID, reason);
      },

      /** Other code for the vat; a promise for `{ incarnationNumber }`. */
      upgrade(bundleCap, options = {}) {
        insistRunning(vatID, 'upgrade');
        const bundleID = bundleIDOf(bundleCap, 'vatAdmin.upgrade() requires a bundlecap');
        const { vatParameters, upgradeMessage = 'vat upgraded', ...rest } = options;
        const unknown = Object.keys(rest).join(',');
        if (unknown) throw Error(`upgrade() received unknown options: ${quote(unknown)}`);
        if (typeof upgradeMessage !== 'string') throw Error('upgradeMessage not a string');
        const upgradeID = kernel().upgradeVat(vatID, bundleID, vatParameters, upgradeMessage);
        const kit = makePromiseKit();
        upgrades.set(upgradeID, kit);
        return kit.promise;
      },

      changeOptions(options) {
        insistRunning(vatID, 'changeOptions');
        for (const name of Object.keys(options)) {
          if (name !== 'reapInterval') throw Error(`invalid option ${quote(name)}`);
          if (options[name] !== 'never' && !isNat(options[name])) throw Error('invalid reapInterval value');
        }
        kernel().changeOptions(vatID, options);
      },
    });

  const created = vatID => {
    const end = makePromiseKit();
    end.promise.catch(() => {}); // who does not ask for `done()` does not want to know
    running.set(vatID, end);
    const kit = makePromiseKit();
    creations.set(vatID, kit);
    return kit.promise;
  };

  const create = (bundleCap, options) => {
    const asked = readOptions(options);
    const refusal = 'Vat Creation Error: createVat() requires a bundlecap';
    if (passStyleOf(bundleCap) !== 'remotable') throw Error(refusal);
    return created(kernel().createByBundleID(bundleIDOf(bundleCap, refusal), asked));
  };

  // Who asks what has changed since `updateCount` gets the latest update, or a promise for the next.
  const makeUpdates = () => {
    let count = 0n;
    let latest;
    let next = makePromiseKit();
    return {
      post(value) {
        count += 1n;
        latest = harden({ value, updateCount: count });
        next.resolve(latest);
        next = makePromiseKit();
      },
      notifier: Far('meterNotifier', {
        getUpdateSince: (updateCount = undefined) => (latest && updateCount !== count ? latest : next.promise),
      }),
    };
  };

  const makeMeter = (meterID, methods) => {
    const updates = makeUpdates();
    const meter = Far('meter', { ...methods, getNotifier: () => updates.notifier });
    meterIDs.set(meter, meterID);
    meterUpdates.set(meterID, updates);
    return meter;
  };

  const service = Far('vatAdminService', {
    /** A new vat; a promise for `{ root, adminNode }`. */
    createVat: (bundleCap, options = {}) => create(bundleCap, options),

    createVatByName(name, options = {}) {
      if (typeof name !== 'string') throw Error('createVatByName() requires bundleName to be a string');
      return create(kernel().getNamedBundleCap(name), options);
    },

    /** The bundle's object, as soon as it is installed. */
    waitForBundleCap(bundleID) {
      const bundleCap = kernel().getBundleCap(bundleID);
      if (bundleCap) return bundleCap;
      if (!bundles.has(bundleID)) bundles.set(bundleID, makePromiseKit());
      return bundles.get(bundleID).promise;
    },

    getBundleCap(bundleID) {
      const bundleCap = kernel().getBundleCap(bundleID);
      if (!bundleCap) throw Error(`bundleID not yet installed: ${bundleID}`);
      return bundleCap;
    },

    getNamedBundleCap: name => kernel().getNamedBundleCap(name),
    getBundleIDByName: name => kernel().getBundleIDByName(name),

    createMeter(remaining, threshold) {
      const meterID = kernel().createMeter(nat(remaining, 'remaining'), nat(threshold, 'threshold'));
      return makeMeter(meterID, {
        addRemaining: delta => kernel().addMeterRemaining(meterID, nat(delta, 'delta')),
        setThreshold: newThreshold => kernel().setMeterThreshold(meterID, nat(newThreshold, 'threshold')),
        get: () => kernel().getMeter(meterID),
      });
    },

    createUnlimitedMeter() {
      return makeMeter(kernel().createUnlimitedMeter(), {
        addRemaining: _delta => undefined,
        setThreshold: _newThreshold => undefined,
        get: () => harden({ remaining: 'unlimited', threshold: 0 }),
      });
    },
  });

  const newVatCallback = (vatID, { rootObject, error }) => {
    const kit = creations.get(vatID);
    if (!kit) return;
    creations.delete(vatID);
    if (rootObject) kit.resolve(harden({ root: rootObject, adminNode: makeAdminNode(vatID) }));
    else kit.reject(Error(`Vat Creation Error: ${error}`));
  };

  return Far('root', {
    createVatAdminService(vatAdminDevice) {
      device = vatAdminDevice;
      return service;
    },

    /** To be given as the option `critical` of a vat without which the kernel shall not go on. */
    getCriticalVatKey: () => criticalVatKey,

    newVatCallback,

    vatUpgradeCallback(upgradeID, success, outcome) {
      const kit = upgrades.get(upgradeID);
      if (!kit) return;
      upgrades.delete(upgradeID);
      if (success) kit.resolve(harden({ incarnationNumber: outcome }));
      else kit.reject(outcome);
    },

    vatTerminated(vatID, shouldReject, info) {
      // A vat that fails while it starts is never announced as made.
      newVatCallback(vatID, { error: info });
      const end = running.get(vatID);
      if (!end) {
        console.log(`static or non-running vat ${vatID} terminated`);
        return;
      }
      running.delete(vatID);
      ending.delete(vatID);
      if (shouldReject) end.reject(info);
      else end.resolve(info);
    },

    meterCrossedThreshold(meterID, remaining) {
      const updates = meterUpdates.get(meterID);
      if (updates) updates.post(remaining);
    },

    bundleInstalled(bundleID) {
      const kit = bundles.get(bundleID);
      const bundleCap = kit && kernel().getBundleCap(bundleID);
      if (!bundleCap) return;
      bundles.delete(bundleID);
      kit.resolve(bundleCap);
    },
  });
};
