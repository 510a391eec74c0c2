//! What the vat does that numbers messages to other kernels.

use super::stage::{Stage, install, today, with_stack};
use machine::vats::Work;

/// What the device does not take is missing for ever: nothing that follows goes out or comes in.
#[test]
fn a_connection_that_lacks_a_message_has_ended() {
    with_stack(|| {
        let bootstrap = today(
            "{ async bootstrap({ vattp }, { mailbox }) {
                 await E(vattp).registerMailboxDevice(mailbox);
                 const { transmitter, setReceiver } = await E(vattp).addRemote('b');
                 await E(setReceiver).setReceiver(Far('receiver', { receive: (text) => console.log('came', text) }));
                 D(mailbox).registerInboundHandler(vattp);
                 const send = (text) => E(transmitter).transmit(text).then(() => console.log('sent'), (e) => console.log(`${e}`));
                 await send('one');
                 await send('x'.repeat(5_000_000));
                 await send('three');
               } }",
        );
        let mut install = install(&[("bootstrap.js", &bootstrap)], &[]);
        install.devices.push("mailbox".into());
        install.builtin.push("vattp".into());
        let mut stage = Stage::of(install);
        let ended = "the connection with 'b' has ended: error in add: a message may have 4194304 bytes";
        assert_eq!(stage.output(), ["sent", &format!("vattp: {ended}"), &format!("Error: {ended}"), &format!("Error: {ended}")]);
        let mail = |stage: &mut Stage| stage.machine.as_vats_mut().unwrap().take_mail().unwrap();
        assert_eq!(mail(&mut stage)["b"].outbox.keys().collect::<Vec<_>>(), [&1]);
        let (peer, id) = ("b".to_owned(), Some("b1".to_owned()));
        stage.work(Work::Mail { peer, id, messages: vec![(1, "hi".into())], ack: 1 }).unwrap();
        assert_eq!(stage.output(), [""; 0]);
        let mail = mail(&mut stage);
        assert_eq!((mail["b"].outbox.len(), mail["b"].inbound_ack), (0, 0), "what had gone out before is acknowledged");
        stage.replayed();
    });
}
