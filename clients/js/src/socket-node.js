// A WebSocket client (RFC 6455) for Node before 22, as far as a Glassbox backend needs one: text, ping, close.

import { createHash, randomBytes } from 'node:crypto'
import http from 'node:http'
import https from 'node:https'

const MESSAGE_MAX_BYTES = 64 << 20
const CONTINUATION = 0
const TEXT = 1
const CLOSE = 8
const PING = 9
const PONG = 10

export function openSocket (url, { onText, onClose, timeoutMs }) {
  const key = randomBytes(16).toString('base64')
  const accept = createHash('sha1').update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest('base64')
  const headers = { Connection: 'Upgrade', Upgrade: 'websocket', 'Sec-WebSocket-Version': '13', 'Sec-WebSocket-Key': key }
  return new Promise((resolve, reject) => {
    const { get } = url.startsWith('wss:') ? https : http
    const request = get(url.replace(/^ws/, 'http'), { headers, agent: false })
    const timer = setTimeout(() => request.destroy(new Error(`no answer within ${timeoutMs} ms`)), timeoutMs)
    request.on('close', () => clearTimeout(timer))
    request.on('error', reject)
    request.on('response', response => {
      request.destroy()
      reject(new Error(`HTTP status ${response.statusCode} in place of a WebSocket`))
    })
    request.on('upgrade', (response, stream, first) => {
      clearTimeout(timer)
      if (response.headers['sec-websocket-accept'] !== accept) {
        stream.destroy()
        return reject(new Error('not a WebSocket'))
      }
      stream.setNoDelay(true)
      resolve(run(stream, first, onText, onClose))
    })
  })
}

function run (stream, first, onText, onClose) {
  let reason = ''
  const send = (opcode, payload) => { if (stream.writable) stream.write(frame(opcode, payload)) }
  const fail = why => {
    reason = why
    stream.destroy()
  }
  let chunks = []
  let have = 0
  let need = 2
  let parts = []
  const take = chunk => {
    chunks.push(chunk)
    have += chunk.length
    while (have >= need && !stream.destroyed) {
      const bytes = chunks.length === 1 ? chunks[0] : Buffer.concat(chunks)
      chunks = [bytes]
      const { opcode, final, start, end } = header(bytes)
      const length = parts.reduce((sum, part) => sum + part.length, end - start)
      if (length > MESSAGE_MAX_BYTES) return fail('a message is too long')
      need = end
      if (have < need) continue
      const payload = bytes.subarray(start, end)
      chunks = [bytes.subarray(end)]
      have -= end
      need = 2
      if (opcode === PING) send(PONG, payload)
      if (opcode === CLOSE) {
        reason = payload.subarray(2).toString()
        send(CLOSE, payload)
        stream.end()
      }
      if (opcode === TEXT || opcode === CONTINUATION) {
        parts.push(payload)
        if (final) onText(Buffer.concat(parts.splice(0)).toString())
      }
    }
  }
  stream.on('data', take)
  stream.on('error', error => { reason = error.message })
  stream.on('close', () => onClose(reason))
  // The other side has ended without a word.
  stream.on('end', () => stream.destroy())
  if (first.length) take(first)
  return { send: text => send(TEXT, Buffer.from(text)), close: () => { send(CLOSE, Buffer.alloc(0)); stream.end() } }
}

/** Where the first frame's payload is. While its length is not there, as much as is missing. */
function header (bytes) {
  const [opcode, final] = [bytes[0] & 0x0f, (bytes[0] & 0x80) !== 0]
  let [length, start] = [bytes[1] & 0x7f, 2]
  if (length === 126) {
    start = 4
    length = bytes.length < start ? 0 : bytes.readUInt16BE(2)
  } else if (length === 127) {
    start = 10
    length = bytes.length < start ? 0 : Number(bytes.readBigUInt64BE(2))
  }
  return { opcode, final, start, end: start + length }
}

function frame (opcode, payload) {
  const mask = randomBytes(4)
  const { length } = payload
  const start = Buffer.from([0x80 | opcode, 0x80 | (length < 126 ? length : length < 65536 ? 126 : 127), ...Array(8)])
  if (length >= 65536) start.writeBigUInt64BE(BigInt(length), 2)
  else if (length >= 126) start.writeUInt16BE(length, 2)
  const masked = Buffer.from(payload)
  for (let i = 0; i < length; i++) masked[i] ^= mask[i & 3]
  return Buffer.concat([start.subarray(0, length < 126 ? 2 : length < 65536 ? 4 : 10), mask, masked])
}
