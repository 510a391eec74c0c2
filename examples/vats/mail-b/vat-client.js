// Modifies rows of a database that is elsewhere. Nothing waits for an answer before the next message is sent: what is selected from
// a database that is not open yet is a promise, and so is what is modified in it.
import { E, Far } from '@endo/far';

export const buildRootObject = () => {
  let database;
  const answers = [];
  let last = Promise.resolve();
  const modify = (name, value) => {
    const row = E(E(database).open()).select(name);
    const answer = E(row)
      .modify(value)
      .then(({ before, value: after }) => {
        const line = `${name}: ${before} -> ${after}`;
        console.log(line);
        answers.push(line);
      });
    last = Promise.all([last, answer]);
    return answer;
  };
  return Far('client', {
    use(elsewhere) {
      database = elsewhere;
      modify('greeting', 'hello');
    },
    // Answers at once.
    modify(name, value) {
      modify(name, value).catch(error => console.error(error));
    },
    // When everything is answered that was asked before.
    settled: () => last.then(() => harden([...answers])),
    answers: () => harden([...answers]),
  });
};
