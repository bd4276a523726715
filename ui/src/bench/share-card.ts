import type { CardFacts } from "./card-facts";

/** The size that networks show pictures of links in. */
export const CARD = { width: 1200, height: 630 };

const EDGE = 64;
const FONT = 'system-ui, -apple-system, "Segoe UI", "Cantarell", "Noto Sans", sans-serif';

type Pen = CanvasRenderingContext2D;

/** Tektra's sign, as in the icon. */
function drawSign(pen: Pen, x: number, y: number, side: number) {
  pen.save();
  pen.translate(x, y);
  pen.scale(side / 896, side / 896);
  pen.translate(-64, -64);
  pen.fillStyle = "#14232e";
  pen.beginPath();
  pen.roundRect(64, 64, 896, 896, 208);
  pen.fill();
  pen.fillStyle = "#f2f6f8";
  pen.fill(new Path2D("M256 312h512v104H564v360H460V416H256z"));
  pen.strokeStyle = "#35b6a4";
  pen.lineWidth = 72;
  pen.lineCap = "round";
  pen.lineJoin = "round";
  pen.stroke(new Path2D("M632 520l136 128-136 128"));
  pen.restore();
}

/** Writes a line no wider than `room`: smaller down to `least`, and then cut. */
function write(
  pen: Pen,
  text: string,
  x: number,
  y: number,
  room: number,
  { px, least = px, weight = 400 }: { px: number; least?: number; weight?: number },
) {
  const set = (height: number) => (pen.font = `${weight} ${height}px ${FONT}`);
  let height = px;
  set(height);
  while (height > least && pen.measureText(text).width > room) set(--height);
  let shown = text;
  while (shown.length > 1 && pen.measureText(shown).width > room) {
    shown = `${shown.slice(0, -2).trimEnd()}…`;
  }
  pen.fillText(shown, x, y);
  return pen.measureText(shown).width;
}

/** Draws the card in the colours of the theme that is shown. */
export function drawCard(canvas: HTMLCanvasElement, facts: CardFacts): void {
  const pen = canvas.getContext("2d");
  if (!pen) return;
  const style = getComputedStyle(document.documentElement);
  const colour = (token: string) => style.getPropertyValue(token).trim();
  canvas.width = CARD.width;
  canvas.height = CARD.height;
  const room = CARD.width - 2 * EDGE;

  pen.fillStyle = colour("--surface");
  pen.fillRect(0, 0, CARD.width, CARD.height);
  drawSign(pen, EDGE, 56, 44);
  pen.fillStyle = colour("--text");
  write(pen, "Tektra", EDGE + 60, 87, 300, { px: 26, weight: 600 });
  pen.fillStyle = colour("--muted");
  pen.textAlign = "right";
  write(pen, "Benchmark", CARD.width - EDGE, 87, 300, { px: 22 });
  pen.textAlign = "left";

  pen.fillStyle = colour("--text");
  write(pen, facts.model, EDGE, 184, room, { px: 52, least: 34, weight: 600 });
  pen.fillStyle = colour("--muted");
  write(pen, facts.configuration, EDGE, 226, room, { px: 24, least: 18 });

  drawFigures(pen, facts, colour);

  pen.fillStyle = colour("--text");
  const [processor = "", ...others] = facts.machine;
  write(pen, processor, EDGE, 474, room, { px: 24, least: 18 });
  pen.fillStyle = colour("--muted");
  write(pen, others.join(" · "), EDGE, 508, room, { px: 22, least: 16 });
  if (facts.marks) {
    pen.fillStyle = colour("--warn");
    write(pen, facts.marks, EDGE, 542, room, { px: 20, least: 16 });
  }
  pen.fillStyle = colour("--muted");
  write(pen, facts.foot, EDGE, 586, room, { px: 18, least: 14 });
}

function drawFigures(pen: Pen, facts: CardFacts, colour: (token: string) => string) {
  const top = 268;
  const height = 160;
  const gap = 16;
  const room = CARD.width - 2 * EDGE;
  const width = (room - gap * (facts.figures.length - 1)) / Math.max(1, facts.figures.length);
  for (const [index, figure] of facts.figures.entries()) {
    const left = EDGE + index * (width + gap);
    pen.fillStyle = colour("--sunken");
    pen.beginPath();
    pen.roundRect(left, top, width, height, 12);
    pen.fill();
    const inside = width - 48;
    pen.fillStyle = colour("--muted");
    write(pen, figure.label, left + 24, top + 40, inside, { px: 22 });
    pen.fillStyle = colour(index === 0 ? "--accent" : "--text");
    const wide = write(pen, figure.value, left + 24, top + 98, inside - 74, {
      px: 52,
      least: 30,
      weight: 600,
    });
    pen.fillStyle = colour("--muted");
    write(pen, figure.unit, left + 24 + wide + 10, top + 98, inside - wide - 10, {
      px: 22,
      least: 16,
    });
    write(pen, figure.interval, left + 24, top + 134, inside, { px: 20, least: 14 });
  }
}
