// Stand-in: to be replaced by the part of the prelude of this name.
(function () { 'use strict'; })
