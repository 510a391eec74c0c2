import { E, Far } from '@endo/far';

export const buildRootObject = () => {
  const player = Far('pong', {
    // Answers with a promise for who has had the last hit.
    hit(other, left) {
      console.log(`pong ${left}`);
      return left > 1 ? E(other).hit(player, left - 1) : 'pong';
    },
  });
  return Far('root', {
    getPlayer: () => player,
    serve: async (opponent, hits) => player.hit(await E(opponent).getPlayer(), hits),
  });
};
