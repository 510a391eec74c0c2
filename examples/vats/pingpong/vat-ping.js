import { E, Far } from '@endo/far';

export const buildRootObject = () => {
  const player = Far('ping', {
    // Answers with a promise for who has had the last hit.
    hit(other, left) {
      console.log(`ping ${left}`);
      return left > 1 ? E(other).hit(player, left - 1) : 'ping';
    },
  });
  return Far('root', {
    getPlayer: () => player,
    serve: async (opponent, hits) => player.hit(await E(opponent).getPlayer(), hits),
  });
};
