// `System.files`: nine methods over the files archive. The host holds the archive and its rules; this side turns
// values into text or bytes and refusals into errors.
(function (native, runtime) {
  'use strict';
  const { host } = native;
  const { parse, stringify } = JSON;
  const { isArray } = Array;
  const { freeze } = Object;
  const isView = ArrayBuffer.isView;
  const isWellFormed = Function.prototype.call.bind(String.prototype.isWellFormed);
  const map = Function.prototype.call.bind(Array.prototype.map);
  const { floor, ceil } = Math;
  const MAX = Number.MAX_SAFE_INTEGER;
  const defineProperty = Object.defineProperty;
  const Bytes = Uint8Array;
  const Buffer = ArrayBuffer;

  const READ = 10, WRITE = 11, MKDIR = 12, UNLINK = 13, RMDIR = 14, READDIR = 15, STAT = 16, HISTORY = 17, INFO = 18;

  // Each error of the archive carries its name and a flag, as in DatArchive.
  const FLAGS = {
    __proto__: null,
    NotFoundError: 'notFound',
    NotAFileError: 'notAFile',
    NotAFolderError: 'notAFolder',
    EntryAlreadyExistsError: 'entryAlreadyExists',
    ParentFolderDoesntExistError: 'parentFolderDoesntExist',
    InvalidPathError: 'invalidPath',
    InvalidEncodingError: 'invalidEncoding',
    DestDirectoryNotEmpty: 'destDirectoryNotEmpty',
    ProtectedFileNotWritableError: 'protectedFileNotWritable',
  };
  const CONSTRUCTORS = { __proto__: null, TypeError, RangeError, URIError, SyntaxError };

  function failure(name, message) {
    const constructor = CONSTRUCTORS[name];
    if (constructor) return new constructor(message);
    const error = new Error(message);
    error.name = name;
    if (FLAGS[name]) error[FLAGS[name]] = true;
    return error;
  }

  function ask(op, text, data) {
    const answer = host(op, text, data);
    if (isArray(answer)) throw failure(answer[0], answer[1]);
    return answer;
  }

  function pathOf(path) {
    if (typeof path !== 'string') throw failure('InvalidPathError', 'Path must be a string');
    if (!isWellFormed(path)) throw failure('InvalidPathError', 'Path contains invalid characters');
    return path;
  }

  function encodingOf(options) {
    const encoding = typeof options === 'object' && options !== null ? options.encoding : options;
    if (encoding === undefined || encoding === null) return '';
    if (typeof encoding !== 'string' || !isWellFormed(encoding)) throw failure('InvalidEncodingError', 'Invalid encoding');
    return encoding;
  }


  function bytesOf(data) {
    if (data instanceof Buffer) return new Bytes(data);
    if (isView(data)) return new Bytes(data.buffer, data.byteOffset, data.byteLength);
    return undefined;
  }

  function statOf(fields) {
    const [kind, size, mtime, ctime] = fields;
    const directory = kind === 'directory';
    const stat = {
      dev: 0, nlink: 1, rdev: 0, blksize: 0, ino: 0,
      mode: directory ? 16877 : 33188, uid: 0, gid: 0,
      size, offset: 0, byteOffset: 0, blocks: directory ? 0 : ceil(size / 65536),
      atime: mtime, mtime, ctime, linkname: '', downloaded: directory ? 0 : ceil(size / 65536),
    };
    // Methods are not enumerable: a stat that a backend returns is plain data.
    defineProperty(stat, 'isFile', { value: () => !directory, enumerable: false });
    defineProperty(stat, 'isDirectory', { value: () => directory, enumerable: false });
    return stat;
  }

  const files = {
    async getInfo() { return parse(ask(INFO, '')); },

    async stat(path) { return statOf(parse(ask(STAT, pathOf(path)))); },

    async readFile(path, options) {
      const encoding = encodingOf(options);
      const answer = ask(READ, encoding + '\n' + pathOf(path));
      if (encoding !== 'json') return answer;
      return answer === undefined ? null : parse(answer);
    },

    async readdir(path, options) {
      const recursive = !!(options && options.recursive);
      const entries = parse(ask(READDIR, (recursive ? 'r' : '-') + '\n' + pathOf(path)));
      if (options && options.stat) return map(entries, ([name, ...fields]) => ({ name, stat: statOf(fields) }));
      return map(entries, ([name]) => name);
    },

    async writeFile(path, data, options) {
      if (data === undefined) throw new TypeError('The data to write must not be undefined');
      let encoding = encodingOf(options);
      let content = bytesOf(data);
      if (content === undefined) {
        if (encoding === 'json' || (encoding === '' && typeof data !== 'string')) {
          content = stringify(data);
          if (content === undefined) throw new TypeError('The data to write is no JSON value');
          encoding = 'utf8';
        } else if (typeof data === 'string') {
          content = data;
        } else {
          throw failure('InvalidEncodingError', 'Invalid encoding');
        }
      } else {
        encoding = 'bytes';
      }
      ask(WRITE, encoding + '\n' + pathOf(path), content);
    },

    async mkdir(path) { ask(MKDIR, pathOf(path)); },
    async unlink(path) { ask(UNLINK, pathOf(path)); },
    async rmdir(path, options) { ask(RMDIR, (options && options.recursive ? 'r' : '-') + '\n' + pathOf(path)); },

    async history(options) {
      const { start = 0, end = -1, reverse = false } = options || {};
      const bound = (n) => (typeof n === 'number' && n >= 0 ? floor(n < MAX ? n : MAX) : -1);
      const first = bound(start);
      const text = (first < 0 ? 0 : first) + '\n' + bound(end) + '\n' + (reverse ? 'r' : '-');
      return map(parse(ask(HISTORY, text)), ([path, version, type]) => ({ path, version, type }));
    },
  };
  runtime.files = freeze(files);
})
