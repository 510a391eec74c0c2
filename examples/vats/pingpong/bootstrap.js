// Two vats that play ball. How often is said on the command line: glassbox vat run examples/vats/pingpong -- 10
import { E, Far } from '@endo/far';

export const buildRootObject = (vatPowers, { argv = [] } = {}) =>
  Far('root', {
    async bootstrap(vats) {
      const hits = Number(argv[0] || 4);
      const last = await E(vats.ping).serve(vats.pong, hits);
      console.log(`=> ${last} had the last of ${hits} hits`);
    },
  });
