function buildRootObject(E) {
  let purse
  return harden({
    open(money) {
      purse = money
    },
    async buy(shop, price) {
      const payment = await E(purse).withdraw(price)
      const goods = await E(shop).buy('hat', price, payment)
      console.log(`=> alice has bought a ${goods}`)
      return goods
    },
  })
}

export default function setup(syscall, state, helpers) {
  return helpers.makeLiveSlots(syscall, state, buildRootObject, helpers.vatID)
}
