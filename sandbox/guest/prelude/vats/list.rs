// The files of the prelude in their order: each uses what those before it have made.
macro_rules! list {
    ($macro:ident) => {
        $macro![
            "lockdown",
            "assert",
            "promise",
            "pass",
            "pass2019",
            "encode",
            "decode",
            "marshal",
            "compartment",
            "exo",
            "guards",
            "patterns",
            "datapackage",
            "packages",
            "slots",
            "bodies",
            "liveslots",
            "devices",
            "setup2019",
            "vatstore",
            "references",
            "keys",
            "states",
            "kinds",
            "collections",
            "weak",
            "watch",
            "vatdata",
            "realm",
            "shell"
        ]
    };
}
