/** A question before what cannot be taken back. */

const dialog = document.getElementById("confirm");
const agree = document.getElementById("agree");

/**
 * @param {string} question
 * @param {string} action what the button says that agrees
 * @returns {Promise<boolean>} whether the user agreed
 */
export function agreed(question, action) {
  document.getElementById("question").textContent = question;
  agree.textContent = action;
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((done) => {
    dialog.addEventListener("close", () => done(dialog.returnValue === "yes"), { once: true });
  });
}
