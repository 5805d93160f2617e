// Sends the files of a form straight to the bucket, two at a time, and tells the application when each has arrived.
"use strict";

const form = document.querySelector("form[data-permits]");
const list = document.querySelector("#progress");

async function ask(url, data) {
  const answer = await fetch(url, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(data),
  });
  const told = await answer.json();
  if (!answer.ok) throw new Error(told.detail);
  return told;
}

function send(permit, file, report) {
  return new Promise((done, fail) => {
    const request = new XMLHttpRequest(); // fetch() cannot tell how far it has come
    request.upload.onprogress = event => report(event.loaded / event.total);
    request.onload = () => (request.status < 300 ? done() : fail(new Error(`refused (${request.status})`)));
    request.onerror = () => fail(new Error("the connection broke, or was not allowed"));
    request.open(permit.method, permit.url);
    for (const [name, value] of Object.entries(permit.headers)) request.setRequestHeader(name, value);
    if (permit.method === "PUT") return request.send(file);
    const body = new FormData();
    for (const [name, value] of Object.entries(permit.fields)) body.append(name, value);
    body.append(permit.fileField, file); // after all others
    request.send(body);
  });
}

async function upload(file) {
  const line = list.appendChild(document.createElement("li"));
  const bar = document.createElement("progress");
  line.append(`${file.name} `, bar);
  try {
    const permit = await ask(form.dataset.permits, { type: file.type, size: file.size });
    await send(permit, file, part => (bar.value = part));
    await ask(form.dataset.pictures, { token: permit.token, title: file.name });
    line.className = "done";
  } catch (error) {
    line.className = "failed";
    line.append(`: ${error.message}`);
  }
  bar.remove();
}

form.addEventListener("submit", async event => {
  event.preventDefault();
  const waiting = [...form.querySelector("input[type=file]").files];
  const next = async () => {
    while (waiting.length) await upload(waiting.shift());
  };
  await Promise.all([next(), next()]);
  if (!list.querySelector(".failed")) location.reload();
});
