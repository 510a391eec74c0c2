// Money: who has the mint makes it, who has a purse spends it, who has the issuer can tell a real purse from another.
// What a purse holds stands in a table here, not in the purse, so an object that only looks like one holds nothing.
function buildRootObject() {
  const makeMint = (name) => {
    const balances = new WeakMap()

    const balanceOf = (purse) => {
      if (!balances.has(purse)) throw new TypeError(`this is no purse of ${name}`)
      return balances.get(purse)
    }
    const insistAmount = (amount) => {
      if (!Number.isSafeInteger(amount) || amount < 0) throw new RangeError(`${amount} is not an amount of ${name}`)
    }

    const makePurse = (balance) => {
      insistAmount(balance)
      const purse = harden({
        getIssuer: () => issuer,
        getBalance: () => balanceOf(purse),
        // Takes `amount` out of `source` and puts it here: both or nothing.
        deposit(amount, source) {
          insistAmount(amount)
          const left = balanceOf(source) - amount
          if (left < 0) throw new RangeError(`there are not ${amount} ${name} in it`)
          insistAmount(balanceOf(purse) + amount)
          balances.set(source, left)
          balances.set(purse, balanceOf(purse) + amount)
          return amount
        },
        // A new purse with `amount` of what is in this one: a payment, to be given away.
        withdraw(amount) {
          const payment = makePurse(0)
          payment.deposit(amount, purse)
          return payment
        },
      })
      balances.set(purse, balance)
      return purse
    }

    const issuer = harden({ getName: () => name, makeEmptyPurse: () => makePurse(0) })
    return harden({ getIssuer: () => issuer, mint: makePurse })
  }
  return harden({ makeMint })
}

export default function setup(syscall, state, helpers) {
  return helpers.makeLiveSlots(syscall, state, buildRootObject, helpers.vatID)
}
