// Part 6: every proposal is accepted, so that a developer waits for nobody.

export function resolve(proposal, proposerId, votes, proposalId) {
  return "Accepted";
}
