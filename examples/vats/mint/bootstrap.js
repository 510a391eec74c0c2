// Alice pays Bob. The mint is a vat of its own: neither can make money, or say what the other one has.
function buildRootObject(E) {
  return harden({
    async bootstrap(argv, vats) {
      const mint = E(vats.mint).makeMint('bucks')
      const forAlice = E(mint).mint(1000)
      const forBob = E(E(mint).getIssuer()).makeEmptyPurse()
      E(vats.bob).open(forBob)
      // A promise for Alice's purse is as good as the purse; the messages above need not have arrived.
      await E(vats.alice).open(forAlice)
      await E(vats.alice).buy(vats.bob, 10)
      try {
        await E(vats.alice).buy(vats.bob, 5000)
      } catch (error) {
        console.log(`=> ${error.message}`)
      }
      console.log(`=> alice has ${await E(forAlice).getBalance()}, bob has ${await E(forBob).getBalance()}`)
    },
  })
}

export default function setup(syscall, state, helpers) {
  return helpers.makeLiveSlots(syscall, state, buildRootObject, helpers.vatID)
}
