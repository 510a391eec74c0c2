// Part 6: more than half of the active members decide.

export function resolve(proposal, proposerId, votes, proposalId) {
  const active = new Set();
  table("members.info").forEach((row, id) => {
    if (ccf.bufToJsonCompatible(row).status === "Active") active.add(ccf.bufToStr(id));
  });
  const inFavour = votes.filter(({ member_id, vote }) => vote && active.has(member_id)).length;
  // A ballot is a program and may say something else next time, so nothing is lost for good.
  return inFavour > Math.floor(active.size / 2) ? "Accepted" : "Open";
}
