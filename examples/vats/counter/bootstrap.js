// A counter that the outside can call: POST /call/increment, or `glassbox call increment`.
import { E, Far } from '@endo/far';

export const buildRootObject = () =>
  Far('root', {
    async bootstrap(vats, devices) {
      await E(vats.http).connect(devices.http);
      await E(vats.http).register(vats.counter, { caller: true });
    },
  });
