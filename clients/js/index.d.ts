/** Any value that JSON can carry. */
export type Json = null | boolean | number | string | Json[] | { [key: string]: Json }

/** A signature transaction and the Merkle root that it signs. */
export interface Head {
  /** `"2.17"` */
  readonly transaction: string
  /** 64 hex digits. */
  readonly root: string
}

/** A receipt: CCF's, and what it is the receipt of. As JSON it can be saved and checked at any time. */
export interface Receipt {
  cert: string
  leaf_components: { claims_digest: string, commit_evidence: string, write_set_digest: string }
  node_id: string
  proof: Array<{ left: string } | { right: string }>
  signature: string
  transaction_id: string
  /** The service's certificate, PEM. */
  service_cert?: string
  /** The transaction's input, a line feed, and its result. */
  record: string
  /** Of a call of vats: its input. The record is that of the transaction in which it has settled. */
  call?: string
  /** The receipt as COSE, base64. This client does not read it. */
  cose?: string
}

/** What a backend says of itself. */
export interface Info {
  readonly methods: string[]
  readonly callLogUrl: string
  readonly filesArchiveUrl: string
  /** The backend's id: 64 hex digits. */
  readonly id?: string
  readonly requireAuth?: boolean
  readonly serviceCert?: string
  readonly readonly?: string[]
  readonly debug?: boolean
}

/** An ed25519 key that signs calls. Needs a secure context in browsers. */
export class Key {
  private constructor ()
  static generate (): Promise<Key>
  /** Reads the file of `glassbox key new`, or any PKCS#8 PEM of an ed25519 key without a passphrase. */
  static fromPem (pem: string): Promise<Key>
  /** The caller's id: 64 hex digits. */
  readonly publicHex: string
  /** As `glassbox key new` would write it: keep it secret. */
  toPem (): Promise<string>
  sign (bytes: Uint8Array): Promise<Uint8Array>
}

/** A place for what must outlive a connection: a `Map`, or localStorage behind two functions. */
export interface Store {
  get (key: string): string | null | undefined | Promise<string | null | undefined>
  set (key: string, value: string): unknown
}

export interface ConnectOptions {
  /** Signs the calls. Without a key they are anonymous. */
  key?: Key
  /** Ask for, and check, a receipt for each call. Default: false. */
  receipts?: boolean
  /** Remembers per address: the backend's id and certificate, and the newest head. */
  store?: Store
  /** The backend's id that is expected. Default: the one in the store, else any. */
  id?: string
  /** The service's certificate (PEM) that is expected. Default: the one in the store, else the first that is seen. */
  serviceCert?: string
  /** The caller's name, for a backend in debug mode. */
  user?: string
  /** How long a reply may take. Default: 60000. */
  timeoutMs?: number
}

/** The result of a call. */
export interface Answer {
  /** Absent when the method returned undefined. */
  result?: any
  /** The call's name in the ledger: `"2.18"`. */
  transaction?: string
  /** Present, and checked, when it was asked for. */
  receipt?: Receipt
}

/** A connection. It has a method per exported method of the backend. */
export interface Backend extends EventTarget {
  readonly info: Info
  readonly head: Head
  /** The last 1000 receipts of this connection, newest last. */
  readonly receipts: Receipt[]
  /**
   * Calls a method. Rejects with what the method threw (an Error with its name and message, `transaction` and `receipt`), or
   * with ReceiptError, ForkedLedgerError, TimeoutError, ConnectionClosedError, or the backend's refusal.
   */
  call (method: string, args?: unknown[], options?: { receipt?: boolean }): Promise<Answer>
  close (): void
  addEventListener (type: 'close', listener: (event: Event) => void, options?: boolean | AddEventListenerOptions): void
  [method: string]: any
}

/** Connects to HOST:PORT[/MOUNT], ws://…, wss://… or http://… */
export function connect (address: string, options?: ConnectOptions): Promise<Backend>

/** Checks a receipt against the service's certificate, offline. Rejects with ReceiptError. */
export function verifyReceipt (receipt: Receipt, serviceCert: string):
  Promise<{
    transaction: string, root: string, record: string,
    /** Of a call of vats: its input, and what has come of it. More than one, if the same was called more than once at one time. */
    call?: string, results?: Array<{ result?: any, error?: { name: string, message: string } }>
  }>

/** The bytes that a caller signs. `args` is JSON as it is sent. */
export function callMessage (call: { backend: string, nonce: string, head: Head, method: string, args: string }): Uint8Array

/** The receipt does not prove what the backend answered. */
export class ReceiptError extends Error {}
/** The backend shows another history than before. */
export class ForkedLedgerError extends Error {}
/** At this address is not the backend that was expected. */
export class IdentityError extends Error {}
