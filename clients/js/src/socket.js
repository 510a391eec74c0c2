// A WebSocket that carries text: the platform's own, else (Node before 22) the one of socket-node.js.

/** Connects. `onText` gets each message, `onClose` is called once, with the reason if there is one. */
export async function openSocket (url, { onText, onClose, timeoutMs }) {
  if (!globalThis.WebSocket) return (await import('./socket-node.js')).openSocket(url, { onText, onClose, timeoutMs })
  const socket = new WebSocket(url)
  await new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`no answer within ${timeoutMs} ms`)), timeoutMs)
    socket.onopen = resolve
    socket.onclose = socket.onerror = event => reject(new Error(event.message || event.reason || 'it does not answer'))
    socket.addEventListener('open', () => clearTimeout(timer))
    socket.addEventListener('close', () => clearTimeout(timer))
  }).catch(error => {
    socket.close()
    throw error
  })
  socket.onmessage = ({ data }) => onText(String(data))
  socket.onerror = null
  socket.onclose = ({ reason }) => onClose(reason)
  return { send: text => socket.send(text), close: () => socket.close() }
}
