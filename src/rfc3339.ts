const dayAndHour = /^(\d{4})-(\d{2})-(\d{2})(?:[Tt ](\d{2}))?/

/**
 * Whether the calendar has the day, and the day the hour, of a text that has the form of RFC 3339. `Date` does not check
 * that: it reads 30 February as 2 March, and hour 24 as the next day.
 */
export function isInCalendar(text: string): boolean {
  const [, year, month, day, hour = '0'] = dayAndHour.exec(text) ?? []
  // The calendar repeats every 400 years. `Date.UTC` reads a year below 100 as one of the 20th century.
  const lastDay = new Date(Date.UTC(2000 + (Number(year) % 400), Number(month), 0)).getUTCDate()
  return Number(day) <= lastDay && Number(hour) < 24
}
