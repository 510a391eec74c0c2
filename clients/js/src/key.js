// A caller's ed25519 key, in the form of `glassbox key`: PKCS#8 in PEM, after a line with the public key.

import { base64, hex, unbase64, unpem, utf8 } from './bytes.js'

export class Key {
  #privateKey

  constructor (privateKey, publicHex) {
    this.#privateKey = privateKey
    this.publicHex = publicHex
    Object.freeze(this)
  }

  static async generate () {
    const { privateKey } = await crypto.subtle.generateKey('Ed25519', true, ['sign', 'verify'])
    return Key.#of(privateKey)
  }

  /** Reads the file of `glassbox key new`, or any PKCS#8 PEM of an ed25519 key without a passphrase. */
  static async fromPem (pem) {
    if (pem.includes('ENCRYPTED PRIVATE KEY')) throw new Error('the key has a passphrase; take it off: openssl pkey -in FILE')
    const der = unpem(pem, 'PRIVATE KEY')
    let privateKey
    try {
      privateKey = await crypto.subtle.importKey('pkcs8', der, 'Ed25519', true, ['sign'])
    } catch (cause) {
      throw new Error('not an ed25519 key', { cause })
    }
    return Key.#of(privateKey)
  }

  static async #of (privateKey) {
    const { x } = await crypto.subtle.exportKey('jwk', privateKey)
    return new Key(privateKey, hex(unbase64(x.replace(/-/g, '+').replace(/_/g, '/'))))
  }

  async toPem () {
    const der = new Uint8Array(await crypto.subtle.exportKey('pkcs8', this.#privateKey))
    const lines = base64(der).match(/.{1,64}/g).join('\n')
    return `public key: ${this.publicHex}\n-----BEGIN PRIVATE KEY-----\n${lines}\n-----END PRIVATE KEY-----\n`
  }

  /** The signature of bytes. */
  async sign (bytes) {
    return new Uint8Array(await crypto.subtle.sign('Ed25519', this.#privateKey, bytes))
  }
}

/** What a caller signs: a call of a method with args (JSON as it is sent) of one backend, after a head. */
export function callMessage ({ backend, nonce, head, method, args }) {
  const after = `${head.transaction} ${head.root}`
  return utf8(`glassbox call\n${backend}\n${nonce}\n${after}\n${JSON.stringify(method)}\n${args}`)
}
