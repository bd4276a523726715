import type { ConversationSummary } from "../bindings";

/** Conversations of one stretch of days, under its heading. */
export type Group = { title: string; conversations: ConversationSummary[] };

const TITLES = ["Today", "Yesterday", "Previous 7 days", "Older"] as const;

/** Groups conversations by the days of the person's calendar, keeping their order. */
export function byDay(conversations: ConversationSummary[], now: Date): Group[] {
  const today = startOfDay(now, 0);
  const yesterday = startOfDay(now, 1);
  const week = startOfDay(now, 7);
  const groups = TITLES.map((title): Group => ({ title, conversations: [] }));
  for (const conversation of conversations) {
    const at = conversation.updated_at_ms ?? 0;
    const index = at >= today ? 0 : at >= yesterday ? 1 : at >= week ? 2 : 3;
    groups[index]?.conversations.push(conversation);
  }
  return groups.filter((group) => group.conversations.length > 0);
}

/** Midnight some days ago; by the calendar, as days with a clock change are not 24 hours. */
function startOfDay(now: Date, daysAgo: number): number {
  return new Date(now.getFullYear(), now.getMonth(), now.getDate() - daysAgo).getTime();
}
