// A counter that the outside can call. Two terminals:
//
//   glassbox vat serve examples/vats/counter
//   glassbox call localhost:5555 increment 2
import { E, Far } from '@endo/far';

export const buildRootObject = () =>
  Far('root', {
    async bootstrap(vats) {
      if (!vats.http) throw Error('this needs callers: glassbox vat serve');
      await E(vats.http).register(vats.counter, { caller: true });
    },
  });
