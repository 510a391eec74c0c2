// Each name for a photo can be taken once and only once.
const fs = System.files
exports.init = async function () {
  await fs.mkdir('/photos')
}
exports.addPhoto = async function (name, data, encoding) {
  const path = `/photos/${name}`
  var alreadyExists = await doesFileExist(path)
  if (alreadyExists) throw new Error('File already exists')
  await fs.writeFile(path, data, encoding)
}
exports.listPhotos = function () {
  return fs.readdir('/photos')
}
async function doesFileExist (path) {
  try {
    await fs.stat(path)
    return true
  } catch (e) {
    return false
  }
}
