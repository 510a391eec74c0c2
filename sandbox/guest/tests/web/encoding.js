(function (cases) {
  'use strict';

  const { check, differs, describe } = cases;
  const encoder = new TextEncoder();
  const bytes = (...list) => Uint8Array.from(list);
  const points = (text) => [...text].map((c) => c.codePointAt(0).toString(16)).join(' ');
  const attempt = (fn) => {
    try {
      return fn();
    } catch (error) {
      return describe(error);
    }
  };

  const texts = ['', 'abc', 'h\u00e9llo', '\u20ac', '\u{1f600}', '\u0000x', '\ud800', '\udc00', 'a\ud800b', '\udc00\ud800', '\ud83d\ude00\ud83d', '\uffff\ufeff', '\u007f\u0080\u07ff\u0800'];
  for (const text of texts) check(`encode ${points(text)}`, () => encoder.encode(text).join());
  check('encode nothing and undefined', () => [encoder.encode().length, encoder.encode(undefined).length, encoder.encode(null).join()].join(' '));
  check('encode converts', () => encoder.encode({ toString: () => 'ab' }).join());
  check('encode a symbol', () => encoder.encode(Symbol('x')));
  check('encode gives a Uint8Array', () => [encoder.encode('x') instanceof Uint8Array, encoder.encoding, Object.prototype.toString.call(encoder)].join());
  check('a rope', () => {
    let text = '';
    for (let i = 0; i < 1000; i++) text += `\u00e9${i}`;
    return encoder.encode(text).length;
  });
  check('encoder without new', () => TextEncoder());
  check('encode of another object', () => TextEncoder.prototype.encode.call({}, 'x') && 1);
  for (const [text, room] of [['abc', 5], ['abc', 2], ['a\u00e9b', 2], ['\u20ac', 2], ['\u{1f600}x', 3], ['\u{1f600}x', 4], ['\ud800x', 3], ['', 0]]) {
    check(`encodeInto ${points(text)} with room for ${room}`, () => {
      const target = new Uint8Array(room + 2);
      const { read, written } = encoder.encodeInto(text, target.subarray(1, 1 + room));
      return `${read} ${written} ${target.join()}`;
    });
  }
  check('encodeInto no Uint8Array', () => encoder.encodeInto('x', [1]));
  check('encodeInto another array', () => encoder.encodeInto('x', new Int8Array(3)));

  const utf8 = [
    [], [0x61, 0x62], [0xc3, 0xa9], [0xe2, 0x82, 0xac], [0xf0, 0x9f, 0x98, 0x80], [0xff], [0x61, 0x80, 0x62], [0xc3], [0xc3, 0x28], [0xe2, 0x82], [0xe2, 0x28, 0xa1], [0xf0, 0x9f, 0x98], [0xf0, 0x9f, 0x41],
    [0xed, 0xa0, 0x80], [0xc0, 0x80], [0xf4, 0x90, 0x80, 0x80], [0xf8, 0x88, 0x80, 0x80, 0x80], [0xef, 0xbb, 0xbf, 0x61], [0xef, 0xbb, 0xbf, 0xef, 0xbb, 0xbf], [0xef, 0xbb], [0x00],
  ];
  for (const list of utf8) {
    const name = list.map((byte) => byte.toString(16)).join(' ');
    check(`decode ${name}`, () => points(new TextDecoder().decode(bytes(...list))));
    check(`decode ${name} fatal`, () => points(new TextDecoder('utf-8', { fatal: true }).decode(bytes(...list))));
    check(`decode ${name} byte by byte`, () => {
      const decoder = new TextDecoder();
      let text = '';
      for (const byte of list) text += `${decoder.decode(bytes(byte), { stream: true })}|`;
      return points(text + decoder.decode());
    });
    check(`decode ${name} byte by byte, fatal`, () => {
      const decoder = new TextDecoder('utf-8', { fatal: true });
      let text = '';
      for (const byte of list) text += decoder.decode(bytes(byte), { stream: true });
      return points(text + decoder.decode());
    });
  }
  check('ignoreBOM', () => points(new TextDecoder('utf-8', { ignoreBOM: true }).decode(bytes(0xef, 0xbb, 0xbf, 0x61))));
  check('a mark in the middle of a stream stays', () => {
    const decoder = new TextDecoder();
    return points(decoder.decode(bytes(0x61), { stream: true }) + decoder.decode(bytes(0xef, 0xbb, 0xbf)));
  });
  check('a decoder begins again', () => {
    const decoder = new TextDecoder();
    const mark = bytes(0xef, 0xbb, 0xbf, 0x61);
    return [decoder.decode(mark), decoder.decode(mark), decoder.decode(mark, { stream: true }), decoder.decode(mark)].map(points).join('|');
  });
  check('utf-16le', () => points(new TextDecoder('utf-16le').decode(bytes(0x61, 0, 0x3d, 0xd8, 0, 0xde, 0x3d, 0xd8, 0x62, 0))));
  check('utf-16le odd', () => points(new TextDecoder('utf-16le').decode(bytes(0x61, 0, 0x62))));
  check('utf-16le fatal', () => new TextDecoder('utf-16le', { fatal: true }).decode(bytes(0x3d, 0xd8)));
  check('utf-16le byte by byte', () => {
    const decoder = new TextDecoder('utf-16');
    let text = '';
    for (const byte of [0xff, 0xfe, 0x61, 0, 0x3d, 0xd8, 0, 0xde]) text += decoder.decode(bytes(byte), { stream: true });
    return `${points(text + decoder.decode())} ${decoder.encoding}`;
  });
  check('utf-16be', () => points(new TextDecoder('utf-16be').decode(bytes(0xfe, 0xff, 0, 0x61, 0xd8, 0x3d, 0xde, 0))));
  differs('latin1 is windows-1252', 'Node 20 decodes the row 0x80 as ISO 8859-1', () => {
    const decoder = new TextDecoder('latin1');
    return `${decoder.encoding} ${points(decoder.decode(Uint8Array.from({ length: 256 }, (_, i) => i)))}`;
  });
  for (const label of ['utf-8', 'UTF8', ' utf-8\n', 'unicode-1-1-utf-8', 'ascii', 'iso-8859-1', 'ucs-2', 'utf-16', 'utf-7', 'nope', '', 'utf-8\u0000', '\u00a0utf-8']) {
    check(`label ${JSON.stringify(label)}`, () => new TextDecoder(label).encoding);
  }
  check('label undefined', () => new TextDecoder(undefined).encoding);
  check('label null', () => new TextDecoder(null).encoding);
  check('options', () => {
    const decoder = new TextDecoder('utf-8', { fatal: 1, ignoreBOM: 'x' });
    return [decoder.fatal, decoder.ignoreBOM, Object.prototype.toString.call(decoder)].join();
  });
  check('options of a wrong type', () => new TextDecoder('utf-8', 1));
  check('what can be decoded', () => {
    const buffer = bytes(0x61, 0x62, 0x63, 0x64).buffer;
    const decoder = new TextDecoder();
    return [buffer, new Uint8Array(buffer, 1, 2), new DataView(buffer, 2), new Uint16Array(buffer, 2), undefined].map((input) => decoder.decode(input)).join();
  });
  check('what cannot be decoded', () => [null, 'abc', [97], {}, 5].map((input) => attempt(() => new TextDecoder().decode(input))).join());
  check('a detached buffer', () => {
    const buffer = new ArrayBuffer(3);
    structuredClone(buffer, { transfer: [buffer] });
    return new TextDecoder().decode(buffer).length;
  });
  check('decode of another object', () => TextDecoder.prototype.decode.call({}));

  check('btoa', () => ['', 'a', 'ab', 'abc', '\u00ff\u0000', 12, null].map(btoa).join());
  check('btoa of a wide character', () => btoa('\u0100'));
  check('atob', () => ['', 'YQ==', 'YQ', 'YWI=', 'YWJj', ' Y Q\n=\t=', '/+8='].map((text) => points(atob(text))).join('|'));
  check('atob of bad texts', () => ['Y', 'YQ=', 'YQ===', 'Y=Q=', 'YQ-_', '\u00e9', 'YWJj='].map((text) => attempt(() => points(atob(text)))).join());
  check('atob throws a DOMException', () => {
    try {
      atob('*');
    } catch (error) {
      return [error instanceof DOMException, error.name, error.code, error.constructor === DOMException].join();
    }
  });
  check('globals are not enumerable', () => ['TextEncoder', 'TextDecoder', 'structuredClone'].map((name) => {
    const { writable, configurable } = Object.getOwnPropertyDescriptor(globalThis, name);
    return `${writable}${configurable}`;
  }).join());
})
