// A client of Glassbox backends. Each call is signed over what is called and the newest head that was seen; each answer is
// compared with what the client knows: heads only grow, and a receipt proves that the ledger has this call with this result.

import { base64, hex } from './bytes.js'
import { Key, callMessage } from './key.js'
import { ReceiptError, matchAnswer, verifyReceipt } from './receipt.js'
import { openSocket } from './socket.js'

export { Key, ReceiptError, callMessage, verifyReceipt }

const DEFAULT_PORT = 5555
const CONNECT_TIMEOUT_MS = 10_000
const REPLY_TIMEOUT_MS = 60_000
/** How long ago the newest head may have been heard when a call is signed: well below what backends accept. */
const HEAD_MAX_AGE_MS = 60_000
/** Heads and receipts that are kept in memory. */
const REMEMBERED_MAX = 1000
/** Before anything is signed. */
const NO_HEAD = { transaction: '0.0', root: '0'.repeat(64) }

/** The backend shows another history than before. */
export class ForkedLedgerError extends Error {
  name = 'ForkedLedgerError'
}

/** What is at this address is not the backend that was expected. */
export class IdentityError extends Error {
  name = 'IdentityError'
}

const named = (name, message, more) => Object.assign(new Error(message), { name, ...more })

/** The WebSocket's address for HOST:PORT[/MOUNT], ws://… or http://… */
export function parseAddress (text) {
  const form = /^(?:(wss?|https?):\/\/)?((?:\[[\da-f:.]+\]|[\w.-]+)(:\d+)?)(?:\/([^?#\s]*))?(?:[?#]\S*)?$/i
  const [, scheme = 'ws', authority, explicit, path = ''] = form.exec(text) ?? []
  if (!authority) throw new Error(`${text}: expected HOST:PORT`)
  const secure = scheme === 'wss' || scheme === 'https'
  const port = explicit || secure ? '' : `:${DEFAULT_PORT}`
  const mount = path.replace(/\/+$/, '')
  return `${secure ? 'wss' : 'ws'}://${authority}${port}/${mount && `${mount}/`}`
}

/**
 * Connects to a backend. See index.d.ts for the options.
 */
export async function connect (address, options = {}) {
  const backend = new Backend(parseAddress(address), options)
  await backend[open]()
  return backend
}

const open = Symbol('open')

class Backend extends EventTarget {
  #url
  #options
  #socket
  #closed
  #nextId = 1
  #pending = new Map()
  #session = hex(crypto.getRandomValues(new Uint8Array(8)))
  #counter = 0
  #sending = Promise.resolve()
  #head = NO_HEAD
  #heads = new Map()
  #heardAtMs = 0
  #identity = {}
  #receipts = []

  constructor (url, options) {
    super()
    this.#url = url
    this.#options = options
  }

  /** The newest head that was seen: a signature transaction and the root that it signs. */
  get head () { return this.#head }

  /** The receipts of this connection's calls, newest last. */
  get receipts () { return this.#receipts }

  async [open] () {
    const { user, store, id, serviceCert } = this.#options
    const known = JSON.parse(await store?.get(this.#url) ?? '{}')
    this.#socket = await openSocket(this.#url + (user ? `?user=${encodeURIComponent(user)}` : ''), {
      timeoutMs: CONNECT_TIMEOUT_MS,
      onText: text => this.#receive(text),
      onClose: reason => this.#lose(reason)
    }).catch(cause => { throw named('ConnectionError', `Failed to connect to ${this.#url}: ${cause.message}`, { cause }) })
    try {
      if (known.head) this.#learn(known.head)
      this.info = Object.freeze(await this.#handshake({ id: id ?? known.id, serviceCert: serviceCert ?? known.serviceCert }))
    } catch (error) {
      this.close()
      throw error
    }
    for (const method of this.info.methods) {
      // What the object has already, and what would make a promise of it, is reached by call() alone.
      if (method in this || method === 'then') continue
      Object.defineProperty(this, method, { value: async (...args) => (await this.call(method, args)).result, enumerable: true })
    }
  }

  /** Calls a method; see index.d.ts. */
  async call (method, args = [], { receipt = this.#options.receipts ?? false } = {}) {
    const params = JSON.stringify(args)
    // One after the other: a backend takes the counters of a session in their order only.
    const sent = this.#sending.then(() => this.#send({ method, params, receipt }))
    this.#sending = sent.catch(() => {})
    const { request, reply } = await sent
    return this.#settle(request, await reply)
  }

  close () {
    this.#socket?.close()
    this.#lose('')
  }

  /** Asks the backend who it is, and for its newest head. */
  async #handshake (expected) {
    const request = { method: 'handshake', params: '[]', id: this.#nextId++, head: this.#head }
    const { result } = await this.#settle(request, await this.#exchange(request, '', CONNECT_TIMEOUT_MS))
    if (!Array.isArray(result?.methods)) throw new IdentityError(`${this.#url} is no Glassbox backend`)
    const { id, serviceCert, head = NO_HEAD } = result
    const isOther = (expected, found) => expected !== undefined && expected.trim() !== found?.trim()
    if (isOther(expected.id, id)) throw new IdentityError(`${this.#url} is another backend: ${id}`)
    if (isOther(expected.serviceCert, serviceCert)) throw new IdentityError(`${this.#url} has another certificate`)
    this.#identity = { id, serviceCert }
    await this.#compare(head ?? NO_HEAD, request.head)
    return result
  }

  /** Signs and sends. The reply is a promise in an object, so that nobody waits for it yet. */
  async #send (call) {
    const { key, user } = this.#options
    // A call after a head that is old may be refused.
    if (key && performance.now() - this.#heardAtMs > HEAD_MAX_AGE_MS) await this.#handshake(this.#identity)
    const request = { ...call, id: this.#nextId++, head: this.#head }
    let members = ''
    let caller = ''
    if (key) {
      const { id: backend } = this.#identity
      if (!backend) throw named('Error', 'The backend does not take signed calls')
      const nonce = `${this.#session}.${++this.#counter}`
      const { transaction: head, root } = request.head
      const message = callMessage({ backend, nonce, head: request.head, method: call.method, args: call.params })
      const signature = base64(await key.sign(message))
      members = `,"auth":${JSON.stringify({ backend, key: key.publicHex, nonce, head, root, signature })}`
      caller = `"caller":"${key.publicHex}","nonce":"${nonce}","head":"${head}","signature":"${signature}",`
    } else if (user && this.info.debug) {
      caller = `"caller":${JSON.stringify(user)},`
    }
    if (call.receipt) members += ',"receipt":true'
    request.input = `{"call":${JSON.stringify(call.method)},"args":${call.params},${caller}"time":`
    const reply = this.#exchange(request, members, this.#options.timeoutMs ?? REPLY_TIMEOUT_MS)
    return { request, reply }
  }

  #exchange ({ method, params, id }, members, timeoutMs) {
    const text = `{"jsonrpc":"2.0","method":${JSON.stringify(method)},"params":${params},"id":${id}${members}}`
    const reply = new Promise((resolve, reject) => {
      if (this.#closed) return reject(this.#closed)
      const late = () => {
        this.#pending.delete(id)
        reject(named('TimeoutError', `No reply within ${timeoutMs} ms`))
      }
      this.#pending.set(id, { resolve, reject, timer: setTimeout(late, timeoutMs) })
      this.#socket.send(text)
    })
    reply.catch(() => {})
    return reply
  }

  #receive (text) {
    let reply
    try {
      reply = JSON.parse(text)
    } catch {
      return
    }
    const waiting = this.#pending.get(reply?.id)
    if (!waiting) return
    this.#pending.delete(reply.id)
    clearTimeout(waiting.timer)
    waiting.resolve(reply)
  }

  #lose (reason) {
    if (this.#closed) return
    this.#closed = named('ConnectionClosedError', `The connection is closed${reason ? `: ${reason}` : ''}`)
    for (const { reject, timer } of this.#pending.values()) {
      clearTimeout(timer)
      reject(this.#closed)
    }
    this.#pending.clear()
    this.dispatchEvent(new Event('close'))
  }

  /** From a reply to a result, if everything holds. */
  async #settle (request, reply) {
    const { result, error, transaction, head, receipt } = reply
    if (head) await this.#compare(head, request.head)
    if (transaction && !isAfter(transaction, request.head.transaction)) {
      throw new ForkedLedgerError(`the call is said to be ${transaction}, but ${request.head.transaction} was there before`)
    }
    // What was refused is in no transaction, and has no receipt.
    const proven = request.receipt && (transaction !== undefined || !error)
    if (proven) {
      if (!receipt) throw new ReceiptError('the answer has no receipt')
      const proof = await verifyReceipt(receipt, this.#identity.serviceCert)
      if (proof.transaction !== transaction) throw new ReceiptError('the receipt is of another transaction')
      matchAnswer(proof, request.input, reply)
      this.#receipts.push(receipt)
      if (this.#receipts.length > REMEMBERED_MAX) this.#receipts.shift()
    }
    const more = { ...(transaction && { transaction }), ...(proven && { receipt }) }
    if (error) throw named(error.message, error.data ?? '', { code: error.code, ...more })
    return { result, ...more }
  }

  /** Compares a head with what is known; `before` was known when the call was sent, so the head must not be older. */
  async #compare (head, before) {
    if (!parse(head.transaction) || !/^[0-9a-f]{64}$/.test(head.root)) throw new ForkedLedgerError('the head is malformed')
    const known = this.#heads.get(parse(head.transaction)[1])
    const isOther = known && (known.transaction !== head.transaction || known.root !== head.root)
    const isOlder = head.transaction !== before.transaction && !isAfter(head.transaction, before.transaction)
    if (isOther || isOlder) {
      const [one, other] = [isOther ? known : before, head].map(({ transaction, root }) => `${transaction} with root ${root}`)
      throw new ForkedLedgerError(`the backend has shown the head ${one}, and now shows ${other}`)
    }
    this.#heardAtMs = performance.now()
    // Replies may overtake each other.
    if (!isAfter(head.transaction, this.#head.transaction)) return
    this.#learn(head)
    await this.#options.store?.set(this.#url, JSON.stringify({ ...this.#identity, head: this.#head }))
  }

  #learn ({ transaction, root }) {
    this.#head = Object.freeze({ transaction, root })
    this.#heads.set(parse(transaction)[1], this.#head)
    if (this.#heads.size > REMEMBERED_MAX) this.#heads.delete(this.#heads.keys().next().value)
  }
}

/** View and sequence number. */
function parse (transaction) {
  return /^\d{1,10}\.\d{1,19}$/.test(transaction) ? transaction.split('.').map(BigInt) : null
}

/** True when one transaction stands behind another in one ledger: views never go down. */
function isAfter (transaction, other) {
  const [a, b] = [parse(transaction), parse(other)]
  return a !== null && a[1] > b[1] && a[0] >= b[0]
}
