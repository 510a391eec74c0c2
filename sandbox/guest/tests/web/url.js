(function (cases) {
  'use strict';

  const { check, differs, describe } = cases;
  const fields = ['href', 'origin', 'protocol', 'username', 'password', 'host', 'hostname', 'port', 'pathname', 'search', 'hash'];
  const show = (url) => fields.map((field) => `${field}=${url[field]}`).join(' ');
  const shown = (input) => JSON.stringify(input).replace(/[\u007f-\uffff]/g, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`);

  // ---- Parsing ----

  const inputs = [
    'http://example.com', 'http://example.com/', 'HTTP://EXAMPLE.com/Path?Query#Hash', '  http://example.com/  ',
    'https://user:pass@example.com:8080/p/a/t/h?query=string#hash', 'http://user@host/', 'http://:pw@host/', 'http://user:@host/',
    'http://a:b@c:d@host/', 'http://@host/', 'http://:@host/', 'http://us%20er:p%40ss@host/', 'http://u:p@/x',
    'http://example.com:80/', 'http://example.com:443/', 'https://example.com:443/', 'ws://h:80/', 'wss://h:443/', 'ftp://h:21/',
    'http://h:0/', 'http://h:65535/', 'http://h:65536/', 'http://h:08080/', 'http://h:/', 'http://h:8x/', 'http://h:99999999999/',
    'http://1.2.3.4/', 'http://0x7f.1/', 'http://127.1/', 'http://0177.0.0.1/', 'http://256.1.1.1/', 'http://1.2.3.4.5/',
    'http://4294967295/', 'http://4294967296/', 'http://1.2.3.4./', 'http://0x/', 'http://1e2/', 'http://a.1/', 'http://1.a/',
    'http://[::1]/', 'http://[::1]:8080/', 'http://[2001:db8:0:0:1:0:0:1]/', 'http://[1:2:3:4:5:6:7:8]/', 'http://[::ffff:1.2.3.4]/',
    'http://[1:2:3:4:5:6:7]/', 'http://[::1/', 'http://[g::1]/', 'http://[::1%25eth0]/', 'http://[0:0:0:0:0:0:0:0]/', 'http://[::127.0.0.1]/',
    'http://EXAMPLE.COM/', 'http://m\u00fcnchen.de/', 'http://\u65e5\u672c\u8a9e.jp/', 'http://fa\u00df.de/', 'http://xn--mnchen-3ya.de/',
    'http://\u2615.example/', 'http://\uff25xample.com/', 'http://a\u00adb.com/', 'http://ex%41mple.com/', 'http://ex%20ample.com/',
    'http://exa mple.com/', 'http://a<b/', 'http://a_b.com/', 'http://-a-.com/', 'http://a..b/', 'http://.a/', 'http://a%2fb/', 'http://xn--/',
    'http://\u05d0.com/', 'http://\u3002com/', 'http://example\u3002com/', 'http:///', 'http://', 'http:', 'http:example.com', 'http:/example.com', 'http:\\\\example.com\\path\\x',
    'http://h/a/./b/../c', 'http://h/../../a', 'http://h/a/%2e%2E/b', 'http://h/a/.%2e', 'http://h/a//b///', 'http://h/a\\b', 'http://h/a b"<>`{}|^',
    'http://h/\u00e9?\u00e9#\u00e9', 'http://h/?a=\'b"<>`', 'http://h/#a b"<>`', 'http://h/%zz%41', 'http://h/?q=%zz', 'http://h/a\tb\nc\rd', 'http://h/\ud800', 'http://h?q', 'http://h#f', 'http://h/?', 'http://h/#', 'http://h/?#',
    'http://h/\u{1f600}', 'http://h/a;b=c,d:e@f&g=$h+i!*\'()', 'http://h/[]', 'http://h/?[]|^',
    'file:///etc/passwd', 'file://localhost/etc', 'file://host/share', 'file:///C:/a/../..', 'file:///C|/x', 'file:c:\\foo\\bar', 'file:', 'file:a', 'file:/a', 'file:///a/./../b', 'file://C:/x',
    'mailto:user@example.com', 'mailto:', 'javascript:alert(1)', 'data:text/plain,Hello%20World#x', 'data:,a b', 'about:blank', 'urn:isbn:0451450523', 'blob:https://example.com/uuid', 'blob:x', 'tel:+1-816-555-1212',
    'foo://host/path', 'foo://HOST/path', 'foo://h:80/', 'foo:///path', 'foo:/path', 'foo:path/../x', 'foo:/a/../b', 'foo://user:p@h:1/?q#f', 'foo://a b/', 'foo://a%20b/', 'foo://\u00fc/', 'foo://[::1]/', 'foo://1.2.3', 'foo://h\\x', 'foo:', 'foo:/..//a', 'a+b-c.1://x', '1a://x', 'web+demo:/.//not-a-host/', 'non-special:opaque  ?q#f',
    '', ' ', '/', '//h', 'h', '?q', '#f', ':', ':a', 'a', 'http', 'http//h', '://', 'ht tp://h', 'http\u00e9://h', 'https://a:b', 'https://%', 'https://\u0000/', 'https://a\u0000b/', 'https://h/\u0000',
    'https://example.com./', 'https://example.com../', 'ssh://git@github.com/x.git', 'http://%30%78%63%30%2e%30%32%35%30.01', 'http://\u{1d7d9}.2.3.4/', 'https://x/?a&b=1&&c', 'https://' + 'a'.repeat(64) + '.com/',
  ];
  for (const input of inputs) check(`parse ${shown(input)}`, () => show(new URL(input)));

  const relative = [
    ['b', 'http://h/a/'], ['b', 'http://h/a'], ['../b', 'http://h/a/c/d'], ['../../../b', 'http://h/a'], ['/b', 'http://h/a/c'],
    ['//g/x', 'https://h/a'], ['?q', 'http://h/a?x#y'], ['#f', 'http://h/a?x#y'], ['', 'http://h/a?x#y'], ['.', 'http://h/a/b'], ['..', 'http://h/a/b/c'],
    ['./', 'http://h/a/b'], ['b/./c/../d', 'http://h/a/'], ['http:b', 'http://h/a/'], ['https:b', 'http://h/a/'], ['http:/b', 'http://h/a/'], ['\\b', 'http://h/a/'], ['\\\\g\\x', 'http://h/a/'],
    ['mailto:x', 'http://h/'], ['#f', 'mailto:x'], ['b', 'mailto:x'], ['?q', 'about:blank'], ['b', 'foo://h/a/c'], ['/b', 'foo://h/a/c'], ['//x', 'foo://h/a'], ['b', 'foo:/a/c'],
    ['b', 'file:///a/c'], ['/b', 'file:///C:/a'], ['//x/b', 'file:///C:/a'], ['C|/b', 'file:///D:/a'], ['..', 'file:///C:/'], ['', 'file:///a?q#f'], ['b', 'nope'], ['http://x/', 'nope'], ['  b  ', 'http://h/'], [':80', 'http://h/'],
    ['a:b', 'http://h/'], ['./a:b', 'http://h/'], ['%2e%2e/b', 'http://h/x/y/'], [';x', 'http://h/a/b'], ['b?q=/../#/../', 'http://h/a/'], ['\u00fc', 'http://h/'], ['//', 'http://h/'], ['///x', 'http://h/a'],
    ['user@x', 'http://h/'], ['http://', 'http://h/a'], ['http:#f', 'http://h/a'], ['..//a', 'foo:/x'],
  ];
  for (const [input, base] of relative) check(`parse ${shown(input)} against ${base}`, () => show(new URL(input, base)));

  check('the arguments are converted', () => new URL({ toString: () => 'b' }, new URL('http://h/a/')).href);
  check('no argument', () => new URL());
  check('null is the text null', () => new URL(null, 'http://h/').href);
  check('a symbol is no URL', () => new URL(Symbol('x')));
  check('without new', () => URL('http://h/'));
  check('the error has the input', () => {
    try {
      new URL('nope', 'http:');
    } catch (error) {
      return [error instanceof TypeError, error.code, error.message, error.input, error.base].join();
    }
  });
  check('canParse', () => [URL.canParse('http://h'), URL.canParse('h'), URL.canParse('h', 'http://x'), URL.canParse('h', 'x')].join());
  check('canParse without an argument', () => URL.canParse());
  differs('parse answers null', 'Node 20 has no URL.parse', () => [URL.parse('nope'), URL.parse('b', 'http://h/a'), URL.parse('b', 'nope')].join());
  check('toString, toJSON, JSON', () => {
    const url = new URL('http://h/a b');
    return [url.toString(), url.toJSON(), JSON.stringify({ url }), `${url}`].join(' ');
  });
  check('the tag', () => Object.prototype.toString.call(new URL('http://h')) + Object.prototype.toString.call(new URLSearchParams()));
  check('a subclass', () => {
    class Mine extends URL {
      get extra() {
        return this.host;
      }
    }
    const url = new Mine('http://h:1/');
    return [url.extra, url instanceof URL, url.constructor.name].join();
  });
  check('a getter of another object', () => Object.getOwnPropertyDescriptor(URL.prototype, 'href').get.call({}) && 1);
  check('members are enumerable, globals are not', () => [
    Object.keys(URL.prototype).includes('href'), Object.keys(URLSearchParams.prototype).includes('append'),
    Object.getOwnPropertyDescriptor(globalThis, 'URL').enumerable, Object.getOwnPropertyDescriptor(globalThis, 'URLSearchParams').writable,
  ].join());
  check('lengths', () => [URL.length, URLSearchParams.length, URL.canParse.length, URLSearchParams.prototype.append.length, URLSearchParams.prototype.has.length].join());
  check('origin is read-only', () => {
    const url = new URL('http://h');
    url.origin = 'x';
  });

  differs('parse "file://///a"', 'slashes at the start of the path of a file URL are merged', () => new URL('file://///a').href);

  // ---- Setters ----

  const full = 'https://user:pass@example.com:8080/path?query#hash';
  const setters = [
    [full, 'href', 'http://new/'], [full, 'href', 'nope'], [full, 'protocol', 'http'], [full, 'protocol', 'http:foo'], [full, 'protocol', 'foo'], [full, 'protocol', ''], [full, 'protocol', '1x'], [full, 'protocol', 'file'],
    ['http://h:443/', 'protocol', 'https'], ['https://h:80/', 'protocol', 'http'], ['foo://h/', 'protocol', 'bar'], ['foo://h/', 'protocol', 'http'], ['file:///x', 'protocol', 'http'], ['mailto:x', 'protocol', 'foo'], ['http://h/', 'protocol', 'WSS'], ['http://h/', 'protocol', 'a b'],
    [full, 'username', ''], [full, 'username', 'me@x:/?#'], [full, 'username', '\u00fc'], ['http://h/', 'username', 'me'], ['file:///x', 'username', 'me'], ['mailto:x', 'username', 'me'], ['foo:///x', 'username', 'a'],
    [full, 'password', ''], [full, 'password', 'a:b@c'], ['http://h/', 'password', 'pw'], ['http://user@h/', 'password', 'pw'], ['http://:pw@h/', 'password', ''], ['file:///x', 'password', 'x'],
    [full, 'host', 'new'], [full, 'host', 'new:99'], [full, 'host', 'new:443'], [full, 'host', ''], [full, 'host', 'a b'], [full, 'host', 'x/y'], [full, 'host', 'x?y'], [full, 'host', 'x#y'], [full, 'host', 'x\\y'], [full, 'host', 'x:99999'], [full, 'host', 'x:8a'], [full, 'host', '[::1]:1'], [full, 'host', '@x'], [full, 'host', '0x7f.1'], [full, 'host', 'M\u00dcNCHEN.de'], [full, 'host', 'x:'], [full, 'host', ':80'],
    ['mailto:x', 'host', 'h'], ['file:///x', 'host', 'h'], ['file://h/x', 'host', ''], ['file:///x', 'host', 'localhost'], ['file:///x', 'host', 'h:80'], ['foo://h/x', 'host', ''], ['foo://h/x', 'host', 'UPPER'], ['foo:/x', 'host', 'h'], ['foo://u@h/', 'host', ''], ['http://h/', 'host', 'a\tb'],
    [full, 'hostname', 'new'], [full, 'hostname', 'new:99'], [full, 'hostname', ''], [full, 'hostname', 'x/y'], [full, 'hostname', '[::1]'], [full, 'hostname', '%41'], [full, 'hostname', '1.2'], ['foo://h:1/', 'hostname', ''], ['file:///x', 'hostname', 'h'],
    [full, 'port', '99'], [full, 'port', ''], [full, 'port', '443'], [full, 'port', '99x'], [full, 'port', '65536'], [full, 'port', '0'], [full, 'port', ' 9'], [full, 'port', '-1'], [full, 'port', 8.5], [full, 'port', '9\t8'], ['file:///x', 'port', '9'], ['mailto:x', 'port', '9'], ['foo://h/', 'port', '80'], ['http://h/', 'port', '80'], [full, 'port', '9/8'],
    [full, 'pathname', 'new'], [full, 'pathname', '/a/../b'], [full, 'pathname', ''], [full, 'pathname', '?x#y'], [full, 'pathname', '\\a\\b'], [full, 'pathname', '/a b\u00fc%41'], [full, 'pathname', '//x'], ['foo://h/a', 'pathname', ''], ['foo://h/a', 'pathname', '\\x'], ['foo:/a', 'pathname', 'b'], ['mailto:x', 'pathname', 'y'], ['file:///C:/x', 'pathname', '/D|/y/..'], ['file:///x', 'pathname', ''], ['foo:/a', 'pathname', '//b'],
    [full, 'search', ''], [full, 'search', '?'], [full, 'search', 'a=b'], [full, 'search', '??x'], [full, 'search', '\u00fc \'"<>#'], ['foo://h/', 'search', '\''], ['mailto:x', 'search', 'q'], ['http://h/?x', 'search', 'a\tb\nc'], ['http://h/', 'search', '\ud800'], ['data:a b?q#f', 'search', ''],
    [full, 'hash', ''], [full, 'hash', '#'], [full, 'hash', 'new'], [full, 'hash', '##x'], [full, 'hash', 'a b`"<>\u00fc'], ['mailto:x', 'hash', 'f'], ['javascript:x', 'hash', 'f'], ['http://h/#f', 'hash', 'a\nb'],
  ];
  for (const [href, name, value] of setters) {
    check(`${href} ${name} = ${shown(value)}`, () => {
      const url = new URL(href);
      try {
        url[name] = value;
      } catch (error) {
        return `${describe(error)} and stays ${url.href}`;
      }
      return `${show(url)}${new URL(url.href).href === url.href ? '' : ' (parses to something else)'}`;
    });
  }
  differs('a port that does not begin with a digit', 'Node 20 removes the port', () => {
    const url = new URL(full);
    url.port = 'x99';
    return url.host;
  });
  check('setters in a row', () => {
    const url = new URL('http://h/');
    url.port = '81';
    url.protocol = 'https';
    url.username = 'u';
    url.password = 'p';
    url.pathname = '/x y';
    url.search = 'a=1';
    url.hash = 'f';
    url.host = 'example.org:443';
    return url.href;
  });

  // ---- URLSearchParams ----

  const queries = ['', '?', 'a=1&b=2', '?a=1', '??a=1', 'a', 'a=', '=a', '=', '&', '&&a&&', 'a=1=2', 'a+b=c+d', 'a%20b=%2B', '%zz=%', '%F0%9F%98%80=\u{1f600}', '%FF=%C3%28', 'a=1&a=2', '#a=1', 'a=b#c', ' a = b ', '%00=\u0000', '\ufeffa=1', '%EF%BB%BFa=1', 'a\ud800=\udc00'];
  for (const query of queries) {
    check(`query ${shown(query)}`, () => {
      const params = new URLSearchParams(query);
      return `${params.size} ${shown([...params])} ${params}`;
    });
  }
  const make = (init) => () => `${new URLSearchParams(init)}`;
  check('params of nothing', make());
  differs('params of null', 'Node takes null for nothing, the specification for the text null', make(null));
  check('params of a number', make(12));
  check('params of pairs', make([['a', 1], ['b', [2, 3]], ['a', null]]));
  check('params of a Map', make(new Map([['a', 'x'], ['b', 'y']])));
  check('params of params', make(new URLSearchParams('a=1&a=2')));
  check('params of a generator', make((function* () {
    yield ['a', 'b'];
    yield new Set(['c', 'd']);
  })()));
  check('params of a record', make({ a: 1, 'b c': 'd&e', '': '', toString: 2 }));
  check('params of a record with lone surrogates', make({ '\ud800': 1, '\ud801': 2, x: 3 }));
  check('params of a function', make(Object.assign(() => 1, { a: 1 })));
  check('params of short pairs', make([['a']]));
  check('params of long pairs', make([['a', 'b', 'c']]));
  check('params of no pairs', make([1]));
  check('params of strings as pairs', make(['ab', 'cd']));
  check('params of a symbol', make(Symbol('x')));
  check('params of an object with a symbol key', make({ [Symbol('x')]: 1 }));
  check('params without new', () => URLSearchParams(''));
  check('what is escaped', make([["!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~", '\u00fc \n\u0000']]));
  check('get, getAll, has', () => {
    const params = new URLSearchParams('a=1&b=2&a=3');
    return [params.get('a'), params.get('x'), params.getAll('a').join('+'), params.getAll('x').length, params.has('b'), params.has('a', '3'), params.has('a', '4'), params.has('a', undefined)].join();
  });
  check('append, set, delete', () => {
    const params = new URLSearchParams('a=1&b=2&a=3');
    params.append('c', null);
    params.set('a', 9);
    params.set('d', 4);
    params.delete('b');
    params.delete('nope');
    params.append('a', 8);
    params.delete('a', '9');
    params.delete('d', undefined);
    return params;
  });
  check('sort', () => {
    const params = new URLSearchParams('z=1&\u{1f600}=2&\ufb03=3&a=4&z=0&A=5&=6&aa=7');
    params.sort();
    return shown([...params]);
  });
  check('iteration', () => {
    const params = new URLSearchParams('a=1&b=2');
    const iterator = params.entries();
    return [
      [...params.keys()], [...params.values()], shown(iterator.next()), Object.prototype.toString.call(iterator), iterator[Symbol.iterator]() === iterator,
      URLSearchParams.prototype[Symbol.iterator] === URLSearchParams.prototype.entries, typeof iterator.next,
    ].join(' ');
  });
  check('iteration sees changes', () => {
    const params = new URLSearchParams('a=1&b=2&c=3');
    const seen = [];
    for (const [name] of params) {
      seen.push(name);
      if (name === 'a') params.delete('b');
      if (name === 'c') params.append('d', 4);
    }
    return seen;
  });
  check('forEach', () => {
    const params = new URLSearchParams('a=1&b=2');
    const seen = [];
    params.forEach(function (value, name, whole) {
      seen.push(value, name, whole === params, this.x);
    }, { x: 'this' });
    return seen;
  });
  check('forEach of no function', () => new URLSearchParams().forEach(1));
  check('missing arguments', () => ['append', 'delete', 'get', 'getAll', 'has', 'set'].map((name) => {
    try {
      return new URLSearchParams('a=1')[name](...(name === 'append' || name === 'set' ? ['a'] : []));
    } catch (error) {
      return describe(error);
    }
  }));
  check('a method of another object', () => URLSearchParams.prototype.get.call({}, 'a'));
  check('searchParams writes to its URL', () => {
    const url = new URL('http://h/p?a=1#f');
    const { searchParams } = url;
    searchParams.append('b', 'c d');
    const first = url.href;
    searchParams.delete('a');
    searchParams.delete('b');
    return [first, url.href, url.search === '', searchParams === url.searchParams, url.searchParams.size].join(' ');
  });
  check('searchParams follows its URL', () => {
    const url = new URL('http://h/?a=1');
    const { searchParams } = url;
    const seen = [`${searchParams}`];
    url.search = '?b=2&c=%20';
    seen.push(`${searchParams}`);
    url.href = 'http://x/?d=+';
    seen.push(`${searchParams}`, searchParams.get('d'));
    url.search = '';
    seen.push(searchParams.size);
    url.hash = '#e';
    seen.push(searchParams.size);
    return seen.join('|');
  });
  check('searchParams keeps an odd query until it changes', () => {
    const url = new URL("http://h/?a=~'%20&&b");
    const seen = [`${url.searchParams}`, url.href];
    url.searchParams.sort();
    return [...seen, url.href].join(' ');
  });
  check('searchParams cannot be set', () => {
    const url = new URL('http://h/?a');
    url.searchParams = 'b';
  });
  check('searchParams of an opaque path', () => {
    const url = new URL('data:x?a=1');
    url.searchParams.set('a', 2);
    return url.href;
  });
  check('searchParams.set with special characters', () => {
    const url = new URL('http://h/');
    url.searchParams.set('q', "a&b=c#d'e\u00fc+");
    return `${url.href} ${url.searchParams.get('q')}`;
  });
})
