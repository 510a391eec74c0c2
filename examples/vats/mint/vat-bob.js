function buildRootObject(E) {
  let till
  return harden({
    open(money) {
      till = money
    },
    // The goods go out when the mint says that the money is in.
    async buy(goods, price, payment) {
      const paid = await E(till).deposit(price, payment)
      console.log(`=> bob was paid ${paid}`)
      return goods
    },
  })
}

export default function setup(syscall, state, helpers) {
  return helpers.makeLiveSlots(syscall, state, buildRootObject, helpers.vatID)
}
