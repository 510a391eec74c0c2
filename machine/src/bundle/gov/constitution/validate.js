// Part 5: looking at a proposal, and doing what it says.

const actionNamed = (name) => (Object.hasOwn(ACTIONS, name) ? ACTIONS[name] : undefined);

export function validate(input) {
  const { actions } = JSON.parse(input) ?? {};
  if (!Array.isArray(actions) || actions.length === 0) {
    return { valid: false, description: "a proposal is an object with actions, an array of at least one" };
  }
  const wrong = [];
  actions.forEach((proposed, at) => {
    const { name, args } = proposed ?? {};
    const action = actionNamed(name);
    if (action === undefined) {
      wrong.push(`${name}: no such action`);
      return;
    }
    try {
      action.check(args);
    } catch (error) {
      wrong.push(`${name} at position ${at} failed validation: ${error}`);
    }
  });
  return { valid: wrong.length === 0, description: wrong.join(", ") };
}

export function apply(proposal, proposalId) {
  for (const { name, args } of JSON.parse(proposal).actions) {
    const action = actionNamed(name);
    if (action === undefined) throw new Error(`${name}: no such action`);
    action.apply(args, proposalId);
  }
}
